// The page: a picture to draw on, the network's answer, and drawings saved as files.
const element = id => document.getElementById(id), all = selector => [...document.querySelectorAll(selector)];
const SIDE = 84, { info, classes } = RUN, field = element("field"), bars = all("#bars button"), maps = all(".units");
const blank = () => ({ ...grid(SIDE, SIDE), ground: 0, isReady: false }); // ready: the network gets it as it is
let picture = blank(), earlier = [], pen = null, chosen = -1, trace = null, marked = 0, right = 0;
const grey = ({ data }) => i => 0xff000000 + 0x010101 * data[i]; // colours as alpha, blue, green, red
function signed({ data }) { // blue above 0, orange below, opaque where it is farthest from 0
  const most = data.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12);
  return i => 0x1000000 * Math.round((255 * Math.abs(data[i])) / most) + (data[i] > 0 ? 0xff8c28 : 0x0078ff);
}
function paint(canvas, image, colours) {
  const { width, height } = image, shown = new ImageData(width, height), colour = colours(image);
  new Uint32Array(shown.data.buffer).forEach((_, i, pixels) => { pixels[i] = colour(i); });
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(shown, 0, 0);
}
function inRows(values, width = Math.ceil(Math.sqrt(2 * values.length))) { // of units: about twice as wide as high
  const image = grid(Math.ceil(values.length / width), width);
  image.data.set(values);
  return image;
}
function update() {
  const isEmpty = picture.data.every(value => value === picture.ground), part = [0, 0, picture.width, picture.height];
  const seen = isEmpty ? null : picture.isReady ? { pixels: picture.data, part, things: 1 } : framed(picture, info);
  trace = forward(seen ? seen.pixels : new Float64Array(info.height * info.width));
  const probabilities = trace.values.at(-1), best = probabilities.indexOf(Math.max(...probabilities));
  bars.forEach((bar, k) => {
    bar.style.setProperty("--share", seen ? probabilities[k] : 0);
    bar.lastChild.textContent = seen ? `${(100 * probabilities[k]).toFixed(1)} %` : "";
    bar.classList.toggle("best", Boolean(seen) && k === best);
    bar.setAttribute("aria-pressed", k === chosen);
  });
  paint(field, picture, grey);
  field.classList.toggle("coarse", picture.width < SIDE);
  paint(element("seen"), inRows(trace.values[0], info.width), grey);
  if (element("layers").open) maps.forEach((map, number) => paint(map, inRows(trace.values[number + 1]), signed));
  element("overlay").hidden = element("legend").hidden = !seen || chosen < 0;
  if (seen && chosen >= 0) {
    const [left, top, width, height] = seen.part.map((length, k) => `${(100 * length) / part[2 + (k % 2)]}%`);
    Object.assign(element("overlay").style, { left, top, width, height });
    paint(element("overlay"), inRows(contributions(trace, chosen), info.width), signed);
    element("class").textContent = classes[chosen];
  }
  for (const control of all(".mark")) control.disabled = !seen;
  element("right").value = best;
  const unseen = isEmpty ? "Draw something, or drop a picture here." : "Nothing stands out from the background.";
  const several = seen && seen.things > 1 ? `${seen.things} separate things: only the largest is read.` : "";
  element("message").textContent = seen ? several : unseen;
}
function show(next) {
  earlier.push(picture);
  earlier = earlier.slice(-Math.max(1, Math.floor(5e6 / picture.data.length))); // for a photograph, only the last one
  picture = next;
  update();
}
/** Draws or erases a line from the pen to a point, as wide as a share of the field. */
function brush({ x: x1, y: y1 }) {
  const { height, width, data, ground } = picture, { x: x0, y: y0, erases } = pen, dx = x1 - x0, dy = y1 - y0;
  const radius = (element("width").value / 200) * longestSide(picture) + erases, isBright = erases !== ground < 128;
  const ink = erases ? ground : ground < 128 ? 255 : 0, most = (a, b) => Math.max(a, b) + radius + 2;
  const [left, top] = [Math.min(x0, x1), Math.min(y0, y1)].map(least => Math.max(0, Math.floor(least - radius)));
  for (let y = top; y < Math.min(height, most(y0, y1)); y++)
    for (let x = left; x < Math.min(width, most(x0, x1)); x++) {
      const along = clamped(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1), 0, 1), k = y * width + x;
      const covered = clamped(radius + 0.5 - Math.hypot(x - x0 - along * dx, y - y0 - along * dy), 0, 1);
      const tone = rounded(isBright ? covered * ink : 255 - covered * (255 - ink));
      data[k] = isBright ? Math.max(data[k], tone) : Math.min(data[k], tone);
    }
  Object.assign(pen, { x: x1, y: y1 });
}
function placeIn(canvas, { clientX, clientY }) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return { x: ((clientX - left) * canvas.width) / width - 0.5, y: ((clientY - top) * canvas.height) / height - 0.5 };
}
function draw(event) {
  if (!pen || !event.isPrimary) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  (events.length ? events : [event]).map(one => placeIn(field, one)).forEach(brush);
  update();
}
field.onpointerdown = event => {
  if (!event.isPrimary || ![0, 5].includes(event.button)) return; // 5: the other end of a pen
  pen = { ...placeIn(field, event), erases: event.button === 5 || element("eraser").checked };
  show({ ...picture, data: picture.data.slice() });
  draw(event);
};
window.onpointermove = draw;
window.onpointerup = window.onpointercancel = event => { if (event.isPrimary) pen = null; };
element("undo").onclick = () => { picture = earlier.pop() || picture; update(); };
element("clear").onclick = () => show(blank());
document.onkeydown = event => { if ((event.ctrlKey || event.metaKey) && event.key === "z") element("undo").click(); };
bars.forEach((bar, k) => { bar.onclick = () => { chosen = chosen === k ? -1 : k; update(); }; });
element("layers").ontoggle = update;
maps.forEach((map, number) => {
  map.onpointermove = map.onpointerdown = event => {
    const { x, y } = placeIn(map, event), unit = Math.round(y) * map.width + Math.round(x);
    const own = layers[number].weights.filter((_, i) => i % layers[number].bias.length === unit);
    if (!own.length) return;
    paint(element("weights"), inRows(own, number ? undefined : info.width), signed);
    const value = trace.values[number + 1][unit].toFixed(3);
    element("unit").textContent = `Unit ${unit + 1} of layer ${number + 1}: value ${value}, and its weights.`;
  };
});
/** Reads a picture, on white if it is transparent; a large one is shrunk to less than 2048 pixels. */
async function read(source, isReady) {
  const image = await createImageBitmap(source, { colorSpaceConversion: "none" }).catch(() => null);
  if (!image) { element("message").textContent = "The browser cannot read this as a picture."; return; }
  const { height, width } = image, canvas = Object.assign(document.createElement("canvas"), { height, width });
  const context = Object.assign(canvas.getContext("2d"), { fillStyle: "white" });
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height), step = Math.max(1, Math.floor(longestSide(image) / 1024));
  const tone = i => data[i] * 0.299 + data[i + 1] * 0.587 + data[i + 2] * 0.114;
  const small = mapped(averaged(mapped(grid(height, width), (_, i) => tone(4 * i)), step), rounded);
  show({ ...small, ground: isDarkOnLight(small) ? 255 : 0, isReady });
}
const readFirst = ({ files }) => files.length && read(files[0], false);
element("file").onchange = event => { readFirst(event.target); event.target.value = ""; };
document.ondragover = event => event.preventDefault();
document.ondrop = event => { event.preventDefault(); readFirst(event.dataTransfer); };
document.onpaste = event => readFirst(event.clipboardData);
all("#examples img").forEach(image => { image.parentNode.onclick = () => read(image, true); });
/** Saves the drawing as 7_0001-right.png or 7_0002-wrong.png, which data=folder reads, and clears the field. */
function mark(label, verdict) {
  const name = `${RUN.files[label]}_${String(++marked).padStart(4, "0")}-${verdict}.png`;
  right += verdict === "right";
  Object.assign(document.createElement("a"), { href: field.toDataURL(), download: name }).click();
  element("tally").textContent = `${right} of ${marked} right. Saved as ${name}.`;
  show(blank());
}
element("right").onclick = event => mark(event.target.value, "right");
element("wrong").onchange = event => { mark(event.target.value, "wrong"); event.target.selectedIndex = 0; };
update();
