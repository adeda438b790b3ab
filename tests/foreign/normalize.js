// Normalizers of a tokenizer.json as transformers.js runs them: patterns with the flags "gu", JavaScript's own NFKC.
const { normalizers, texts } = JSON.parse(require("fs").readFileSync(0, "utf-8"));

function step(item) {
  if (item.type === "NFKC") return (text) => text.normalize("NFKC");
  if (item.type === "Strip") return (text) => text.trim();
  if (item.type !== "Replace") throw new Error(item.type);
  const pattern = new RegExp(item.pattern.Regex.replace(/\\([#&~])/g, "$1"), "gu");
  return (text) => text.replaceAll(pattern, item.content);
}

const steps = normalizers.map(step);
console.log(JSON.stringify(texts.map((text) => steps.reduce((value, run) => run(value), text))));
