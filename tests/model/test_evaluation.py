import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch.nn import functional as F

from mlplab.model import evaluation
from mlplab.model.classifier import Classifier
from mlplab.model.evaluation import Scores


def test_scores_are_those_of_scikit_learn() -> None:
    torch.manual_seed(0)
    classifier = Classifier([8], dropout=0.5, image_shape=(1, 4, 4), classes=("a", "b", "c"))
    images, labels = torch.randn(97, 1, 4, 4), torch.randint(3, (97,))
    scores = evaluation.score(classifier, zip(images.split(20), labels.split(20), strict=True))
    logits = classifier.eval()(images)
    predicted = logits.argmax(dim=1)
    assert scores.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert scores.acc == pytest.approx((predicted == labels).float().mean().item())
    assert scores.confusion.tolist() == confusion_matrix(labels, predicted).tolist()
    expected = precision_recall_fscore_support(labels, predicted, zero_division=0)
    for found, column in zip((scores.precision, scores.recall, scores.f1), expected, strict=False):
        assert found.tolist() == pytest.approx(column.tolist())


def test_a_class_that_is_never_predicted_or_never_there_scores_0() -> None:
    scores = Scores.of(torch.tensor([[2.0, 1.0, 0.0]] * 5), torch.tensor([0, 0, 0, 1, 1]))
    assert scores.confusion.tolist() == [[3, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert scores.acc == pytest.approx(0.6)
    assert scores.precision.tolist() == pytest.approx([0.6, 0, 0])
    assert scores.recall.tolist() == [1, 0, 0]
    assert scores.f1.tolist() == pytest.approx([0.75, 0, 0])


def test_the_surest_mistake_comes_first() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95], [0.7, 0.3]])
    scores = Scores.of(probabilities.log(), torch.tensor([0, 1, 0, 0, 1]))
    assert scores.most_confident_mistakes(10).tolist() == [3, 2, 4, 1]
    assert scores.most_confident_mistakes(2).tolist() == [3, 2]
    assert torch.allclose(scores.probabilities, probabilities)
