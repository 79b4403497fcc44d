// Finds the largest thing in a grey picture and frames it for the network: data/framing.py, step by step, to the pixel.
// Pictures, views and masks are {height, width, data} with a number for each pixel; a picture's are from 0 to 255.
const INK = 25, FAINTEST = 10, LONGEST = 256;
const grid = (height, width, data = new Float64Array(height * width)) => ({ height, width, data });
const mapped = (image, change) => grid(image.height, image.width, image.data.map(change));
const longestSide = image => Math.max(image.height, image.width);
const rounded = value => Math.floor(value + (0.5 + 1e-9));
const indices = ({ data }, isOn) => data.reduce((found, v, i) => (isOn(v) && found.push(i), found), []);
const clamped = (value, low, high) => Math.min(Math.max(value, low), high);
const largestBy = (measure, list) => list.reduce((best, one) => (measure(one) > measure(best) ? one : best));
/** Returns the network's pixels, the part of the picture that they show, and the number of things; null without any. */
function framed(picture, info) {
  const views = [picture, mapped(picture, value => 255 - value)];
  if (info.fills) views.splice(isDarkOnLight(picture) ? 0 : 1, 1);
  const ready = views.find(view => isFramed(view, info));
  if (ready) return { pixels: ready.data, part: [0, 0, info.width, info.height], things: 1 };
  const step = Math.max(1, Math.floor(longestSide(picture) / LONGEST)), found = [];
  for (const view of views) found.push(drawing(smoothed(averaged(view, step)), info.fills, found[0]));
  const strongest = Math.max(...found.map(one => one.contrast));
  if (strongest < FAINTEST) return null;
  const { raised, pieces } = largestBy(one => -one.unlike, found.filter(one => one.contrast >= strongest / 2));
  const things = grouped(pieces, raised.width), { pixels, part } = placed(raised, largestBy(areaOf, things), info);
  return { pixels, part: part.map(length => length * step), things: things.length };
}
function isFramed(image, info) {
  const { height, width, data } = image;
  if (height !== info.height || width !== info.width) return false;
  const { y, x } = centre(image), { top, bottom, left, right, side } = thing(indices(image, v => v > INK), width);
  if (Math.min(...data) > INK || Math.max(...data) < 200 || side < info.size - 2 || side > info.size) return false;
  if (!info.byMass) return Math.abs(top + bottom - height) <= 3 && Math.abs(left + right - width) <= 3;
  return Math.abs(y - height / 2) <= 0.75 && Math.abs(x - width / 2) <= 0.75;
}
function centre({ width, data }) {
  let mass = 0, down = 0, across = 0;
  data.forEach((value, i) => { mass += value; down += value * Math.floor(i / width); across += value * (i % width); });
  return { y: down / mass, x: across / mass };
}
function isDarkOnLight({ width, data }) {
  const rows = data.filter((_, i) => i < width || i >= data.length - width);
  const columns = data.filter((_, i) => i % width === 0 || (i + 1) % width === 0);
  const ground = quantile(Float64Array.of(...rows, ...columns), 0.5); // of the border, corners twice
  const beyond = sign => data.reduce((sum, value) => sum + Math.max(sign * (value - ground) - INK, 0), 0);
  return beyond(-1) > beyond(1);
}
function averaged({ height, width, data }, step) {
  const mean = grid(Math.ceil(height / step), Math.ceil(width / step));
  for (let y = 0, k = 0; y < height; y += step)
    for (let x = 0; x < width; x += step, k++) {
      const bottom = Math.min(y + step, height), right = Math.min(x + step, width);
      for (let v = y; v < bottom; v++) for (let u = x; u < right; u++) mean.data[k] += data[v * width + u];
      mean.data[k] /= (bottom - y) * (right - x);
    }
  return mean;
}
/** Takes means of 3 x 3 pixels by running sums, with the roundings of scipy.ndimage.uniform_filter. */
function smoothed({ height, width, data: before }) {
  if (Math.min(height, width) <= 80) return grid(height, width, before);
  let data = before;
  for (const [lines, next, step] of [[width, 1, width], [height, width, 1]]) { // columns, then rows
    const out = new Float64Array(data.length), last = (data.length / lines - 1) * step;
    for (let start = 0; start < lines * next; start += next)
      for (let i = 0, sum = 2 * data[start] + data[start + step]; i <= last; i += step) {
        if (i) sum += data[start + Math.min(i + step, last)] - data[start + Math.max(i - 2 * step, 0)];
        out[start + i] = sum / 3;
      }
    data = out;
  }
  return grid(height, width, data);
}
/** Takes the largest (sign 1) or smallest (-1) value in the square around each pixel. */
function extreme({ height, width, data: before }, radius, sign) {
  const all = before.length, span = 2 * radius + 1;
  let data = new Float64Array(all);
  for (let i = 0; i < all; i++) data[i] = sign * before[i]; // loops: data.map takes five times as long
  for (const [line, step] of [[all, width], [width, 1]]) { // along columns, side by side, then along each row
    const out = data.slice(), reach = radius * step;
    for (let start = 0, end = line; start < all; start += line, end += line) {
      for (let i = start + step; i < Math.min(start + 2 * reach, end); i++) out[i] = Math.max(out[i], out[i - step]);
      const lastOf = i => end - step + (i % step), first = Math.min(start + reach, end);
      for (let i = start; i < first; i++) out[i] = out[Math.min(i + reach, lastOf(i))];
      for (let k = 1, more; k < span; k += more) { // each place has the largest of the next k values
        more = Math.min(k, span - k);
        for (let i = start, j = i + more * step; j < end; i++, j++) if (data[j] > data[i]) data[i] = data[j];
      }
      for (let i = first; i < end; i++) out[i] = data[i - reach];
    }
    data = out;
  }
  for (let i = 0; i < all; i++) data[i] *= sign;
  return grid(height, width, data);
}
/** Separates drawing and background; gives up early, if a view cannot be better than the other one. */
function drawing(view, fills, other) {
  const { width } = view, longest = longestSide(view), radius = Math.max(1, Math.floor(longest / (fills ? 2 : 6)));
  const ground = extreme(extreme(view, radius, -1), radius, 1).data, size = Math.floor(longest / 128);
  const between = (n, isFirst) => ground.reduce((sum, v, i) => sum + (isFirst(i) ? 0 : Math.abs(v - ground[i - n])), 0);
  const steps = (between(width, i => i < width) + between(1, i => i % width === 0)) / longest;
  const unlike = strokes => (strokes + 0.8) ** 1.5 * (steps + 8);
  if (other && other.contrast > 255 / 2 && other.unlike < unlike(0.999)) return { contrast: 0 };
  const raised = mapped(view, (value, i) => value - ground[i]), level = fills ? INK : otsu(raised.data);
  const above = mapped(raised, value => value > level);
  if (!above.data.includes(1)) return { contrast: 0 };
  const pieces = cleaned(piecesOf(size ? extreme(above, size, 1) : above, above), view); // a stroke may have gaps
  const mask = maskOf(pieces.flatMap(piece => piece.pixels), view);
  const contrast = fills ? quantile(raised.data.filter((_, i) => mask.data[i]), 0.75) : edgeContrast(view, mask);
  return { raised, pieces, contrast, unlike: unlike(strokeWidth(mask)) };
}
function edgeContrast(view, mask) {
  const low = extreme(view, 2, -1).data, rough = extreme(view, 2, 1).data.map((high, i) => high - low[i]);
  const inner = extreme(mask, 1, -1).data, around = extreme(mask, 2, 1).data, ground = rough.filter((_, i) => !around[i]);
  const contrast = quantile(rough.filter((_, i) => mask.data[i] > inner[i]), 0.5);
  return contrast > 2 * (ground.length ? quantile(ground, 0.25) : 0) ? contrast : 0;
}
/** Otsu's level (1979), or a higher one, above the lines of the paper. */
function otsu(raised) {
  const below = new Float64Array(256), sums = new Float64Array(256), all = raised.length;
  for (const value of raised) below[Math.floor(value + 0.5)]++;
  for (let i = 1; i < 256; i++) { sums[i] = sums[i - 1] + below[i] * i; below[i] += below[i - 1]; }
  const apart = below.map((n, i) => (sums[255] * n - sums[i] * all) ** 2 / Math.max(n * (all - n), 1));
  const level = apart.indexOf(Math.max(...apart)) + 0.5, above = raised.filter(value => value > level);
  return above.length ? Math.max(level, 0.45 * quantile(above, 0.9)) : level;
}
/** Interpolates as numpy.quantile does; sorts the values in place. */
function quantile(values, share) {
  const place = share * (values.length - 1), k = Math.floor(place), t = place - k;
  const a = values.sort()[k], b = values[Math.min(k + 1, values.length - 1)];
  return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}
/** Visits the pixels of the square around pixel i, each with its distances to the right and down. */
function near({ height, width }, i, radius, visit) {
  const x = i % width, y = (i - x) / width, bottom = Math.min(y + radius, height - 1);
  for (let v = Math.max(y - radius, 0); v <= bottom; v++)
    for (let u = Math.max(x - radius, 0); u <= Math.min(x + radius, width - 1); u++) visit(v * width + u, u - x, v - y);
}
/** Spreads each value to a disc of r * r <= reach, where it is the largest. */
function dilated(image, radius, reach) {
  const { height, width, data } = image, out = data.slice();
  for (const i of indices(image, value => value > 0))
    near(image, i, radius, (k, x, y) => { if (data[i] > out[k] && x * x + y * y <= reach) out[k] = data[i]; });
  return grid(height, width, out);
}
/** A thing or a piece of it: a list of pixels with the box around them; bottom and right are outside. */
function thing(pixels, width) {
  const sides = [pixels.map(i => Math.floor(i / width)), pixels.map(i => i % width)];
  const [top, left] = sides.map(list => list.reduce((a, b) => Math.min(a, b), Infinity));
  const [bottom, right] = sides.map(list => list.reduce((a, b) => Math.max(a, b), -1) + 1);
  return { pixels, top, bottom, left, right, side: Math.max(bottom - top, right - left) };
}
const areaOf = ({ pixels }) => pixels.length;

function maskOf(pixels, { height, width }) {
  const mask = grid(height, width);
  for (const i of pixels) mask.data[i] = 1;
  return mask;
}
/** The connected pieces of the mask `joined`, with only their pixels in `mask`. */
function piecesOf(joined, mask) {
  const rest = joined.data.slice(), pieces = [];
  for (let first = rest.indexOf(1); first >= 0; first = rest.indexOf(1, first)) {
    const piece = [first], add = i => { if (rest[i]) { rest[i] = 0; piece.push(i); } };
    rest[first] = 0;
    for (let k = 0; k < piece.length; k++) near(mask, piece[k], 1, add);
    pieces.push(thing(piece.filter(i => mask.data[i]), mask.width));
  }
  return pieces;
}
/** Drops specks and, if anything large is left, edges of the paper and frames. */
function cleaned(pieces, { height, width }) {
  const isStrip = ({ pixels, top, bottom, left, right }) => {
    const edges = [i => i < width, i => i >= width * (height - 1), i => i % width === 0, i => (i + 1) % width === 0];
    const along = Math.max(...edges.map((isOn, k) => pixels.filter(isOn).length / (k < 2 ? width : height)));
    return along > 0.4 || (along > 0 && Math.max((bottom - top) / height, (right - left) / width) > 0.95);
  };
  const others = pieces.filter(piece => !isStrip(piece));
  const kept = others.some(piece => piece.side >= 0.15 * Math.max(height, width)) ? others : pieces;
  const least = 0.08 * areaOf(largestBy(areaOf, kept));
  return kept.filter(piece => areaOf(piece) >= least);
}
/** Joins pieces that lie above one another, from left to right, and drops things far smaller than the largest. */
function grouped(pieces, width) {
  const open = [...pieces], groups = [];
  const isNear = one => other => {
    const shared = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const gap = Math.max(one.top, other.top) - Math.min(one.bottom, other.bottom);
    const [shorter, taller] = [one.bottom - one.top, other.bottom - other.top].sort((a, b) => a - b);
    const narrower = Math.min(one.right - one.left, other.right - other.left);
    return shared > narrower / 4 && gap < (shorter < taller / 2 ? 0.3 : 0.1) * taller;
  };
  while (open.length) {
    const one = open.pop(), place = groups.findIndex(isNear(one));
    if (place < 0) groups.push(one);
    else open.push(thing([...one.pixels, ...groups.splice(place, 1)[0].pixels], width));
  }
  const least = 0.4 * largestBy(group => group.side, groups).side;
  const order = (a, b) => a.left - b.left || a.right - b.right || a.top - b.top || a.bottom - b.bottom;
  return groups.sort(order).filter(group => group.side > least);
}
/** Mean width of strokes, from the chessboard distance of their pixels to the nearest outside; at least 1. */
function strokeWidth(mask) {
  const far = mask.data.map(isOn => isOn && Infinity), on = indices(mask, isOn => isOn), back = [...on].reverse();
  for (const i of [...on, ...back]) near(mask, i, 1, k => { if (far[k] + 1 < far[i]) far[i] = far[k] + 1; });
  return Math.max(1, (4 * on.reduce((sum, i) => sum + far[i], 0)) / on.length - 2 || 1);
}
/** Thickens a thing if its strokes are too fine, scales it, stretches it to full contrast, and centres it. */
function placed(raised, { pixels, top, bottom, left, right, side }, info) {
  const white = quantile(Float64Array.from(pixels, i => raised.data[i]), info.fills ? 0.99 : 0.75);
  const mask = extreme(maskOf(pixels, raised), 1 + Math.floor(longestSide(raised) / 256), 1);
  const tone = mapped(mask, (isOn, i) => isOn && clamped(raised.data[i] / white, 0, 1));
  const cut = (margin, row = right - left + 2 * margin) => mapped(grid(bottom - top + 2 * margin, row), (_, i) => {
    const y = Math.floor(i / row) - margin + top, x = (i % row) - margin + left;
    return y >= top && y < bottom && x >= left && x < right ? tone.data[y * tone.width + x] : 0;
  });
  const lacking = (side / 10 - strokeWidth(mapped(cut(1), value => value > 0.5))) / 2; // two pixels of twenty
  const radius = Math.max(0, rounded(lacking)), grey = dilated(cut(radius), radius, radius * (radius + 1));
  const [height, width] = [grey.height, grey.width].map(n => Math.max(1, rounded((n * info.size) / longestSide(grey))));
  const small = resampled(resampled(grey, height), width), least = Math.min(0.2, Math.max(...small.data) / 2);
  const factor = 255 / quantile(small.data.filter(value => value > least), info.fills ? 1 : 0.8);
  const bright = mapped(small, value => clamped(value * factor, 0, 255)), middle = centre(bright);
  const offset = (all, n, at) => info.byMass ? clamped(rounded(all / 2 - at), 0, all - n) : Math.floor((all - n) / 2);
  const y = offset(info.height, height, middle.y), x = offset(info.width, width, middle.x);
  const { data } = grid(info.height, info.width), [wide, high] = [grey.width / width, grey.height / height];
  bright.data.forEach((v, i) => { data[(y + Math.floor(i / width)) * info.width + x + (i % width)] = rounded(v); });
  const part = [left - radius - x * wide, top - radius - y * high, info.width * wide, info.height * high];
  return { pixels: data, part };
}
/** Scales the height by a triangle filter, two pixels of the smaller picture wide, and transposes. */
function resampled({ height, width, data }, size) {
  const out = grid(width, size), scale = Math.max(1, height / size), rows = [...Array(height).keys()];
  for (let k = 0; k < size; k++) {
    const weights = rows.map(v => Math.max(0, 1 - Math.abs(v - (((k + 0.5) * height) / size - 0.5)) / scale));
    const sum = weights.reduce((a, b) => a + b);
    for (const v of rows.filter(v => weights[v]))
      for (let u = 0; u < width; u++) out.data[u * size + k] += (weights[v] / sum) * data[v * width + u];
  }
  return out;
}
