"""Loss and accuracy of an epoch."""


class Totals:
    """Sums over the images of an epoch, and their means."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sums = (0.0, 0, 0)  # of loss, correct answers and images

    def add(self, loss: float, correct: int, images: int) -> None:
        """Add a batch: the sum of its losses, its correct answers, its images."""
        self.sums = (self.sums[0] + loss, self.sums[1] + correct, self.sums[2] + images)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy per image."""
        loss, correct, images = self.sums
        return loss / images, correct / images
