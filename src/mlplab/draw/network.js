// The network. For each layer: the biases of its units, and weights from each input to each unit, input by input.
const layers = RUN.layers.map(({ bias, scales, weights }) => {
  const text = atob(weights), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return { bias, weights: Float32Array.from(new Int16Array(bytes.buffer), (w, i) => w * scales[i % bias.length]) };
});
/** Computes the sums and the values of the units of each layer; those of the last are probabilities, by softmax. */
function forward(pixels) {
  const values = [pixels], sums = layers.map(({ bias, weights }, number) => {
    const units = bias.length, sum = Float32Array.from(bias), isLast = number === layers.length - 1;
    values[number].forEach((value, i) => {
      if (value) for (let j = 0, k = i * units; j < units; j++, k++) sum[j] += value * weights[k];
    });
    const most = Math.max(...sum), powers = Float64Array.from(sum, logit => Math.exp(logit - most));
    const share = power => power / powers.reduce((a, b) => a + b);
    values.push(isLast ? powers.map(share) : sum.map(x => activations[number](x)));
    return sum;
  });
  return { sums, values };
}
/** Multiplies each pixel by the gradient of a class's logit with respect to it. */
function contributions({ sums, values }, chosen) {
  let slopes = values.at(-1).map((_, k) => (k === chosen ? 1 : 0));
  for (let number = layers.length - 1; number >= 0; number--) {
    const { bias, weights } = layers[number], before = new Float64Array(values[number].length);
    for (let i = 0, k = 0; i < before.length; i++)
      for (let j = 0; j < bias.length; j++, k++) before[i] += weights[k] * slopes[j];
    const f = activations[number - 1], x = sums[number - 1], slope = i => (f(x[i] + 1e-4) - f(x[i] - 1e-4)) / 2e-4;
    slopes = before.map((value, i) => value * (number ? slope(i) : values[0][i]));
  }
  return slopes;
}
