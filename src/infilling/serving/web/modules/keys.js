/** The keyboard. Nothing here works while a field or a dialog has the focus. */

const SHORT_TAB = 250; // milliseconds: a shorter press moves the focus, as everywhere
const STEP = 8;
const TOOLS = { s: "select", k: "source", b: "brush", j: "heal", e: "eraser", r: "rect", l: "lasso", h: "hand" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The list of keys: each with the name of the sentence that says what it does. */
export const LIST = [
  [["S", "B", "J", "E", "R", "L", "H"], "key.tools"],
  [["K"], "source.what"],
  [["Alt"], "key.alt"],
  [["[", "]"], "key.size"],
  [["key.wheel", "+", "−", "0"], "key.zoom"],
  [["key.drag"], "key.pan"],
  [["Tab"], "key.tab"],
  [["Enter"], "key.fill"],
  [[",", "."], "key.variant"],
  [["Esc"], "key.cancel"],
  [["Ctrl Z"], "undo"],
  [["Ctrl Shift Z"], "redo"],
  [["C"], "compare"],
  [["I"], "invert"],
  [["X"], "clear"],
  [["Ctrl S"], "save"],
  [["Ctrl C"], "copy"],
  [["O"], "open"],
  [["?"], "keys"],
];

/** Listen to the keyboard. @param {object} actions of app.js */
export function listen(tools, view, actions) {
  const canvas = view.element;
  let tab = null;

  function isOurs(event) {
    const { target } = event;
    if (document.querySelector("dialog[open]")) return false;
    return target === document.body || target === canvas || (target.closest?.(".dock, .bar, .shelf") && !target.matches("input, select"));
  }

  window.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") document.body.dataset.hand = "keys";
    if (event.key === "Escape") return actions.escape();
    if (!isOurs(event)) return;
    if (event.key === "?") return actions.keys();
    if (event.key.toLowerCase() === "o" && !event.ctrlKey && !event.metaKey) return actions.open();
    if (!view.work) return;
    const onCanvas = event.target === canvas || event.target === document.body;
    if (press(event, onCanvas)) event.preventDefault();
  });

  function press(event, onCanvas) {
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) return pressWithControl(event, key);
    if (key in TOOLS && !document.querySelector(`[data-tool="${TOOLS[key]}"]`).hidden) return tools.choose(TOOLS[key]), true;
    if (key === "[" || key === "]") return tools.resize(key === "[" ? -4 : 4), true;
    if (key === "+" || key === "=" || key === "-") return view.zoom(key === "-" ? 0.8 : 1.25), true;
    if (key === "0") return view.fit(), true;
    if (key === "i") return actions.invert(), true;
    if (key === "x") return actions.clear(), true;
    if (key === "c") return actions.compare(), true;
    if (key === "," || key === ".") return actions.turnVariant(key === "," ? -1 : 1), true;
    if (!onCanvas) return false;
    if (key === "tab") return holdTab(event), true;
    if (key === "enter") return actions.fill(), true;
    if (key === " ") {
      if (tools.key) tools.press(true, event.altKey || tools.name === "eraser");
      else tools.pan(true);
      return true;
    }
    if (event.key in ARROWS) {
      const [x, y] = ARROWS[event.key];
      const far = event.shiftKey ? STEP * 6 : STEP;
      tools.step(x * far, y * far, true);
      return true;
    }
    return false;
  }

  function pressWithControl(event, key) {
    if (key === "z") return event.shiftKey ? actions.redo() : actions.undo(), true;
    if (key === "y") return actions.redo(), true;
    if (key === "s") return actions.save(), true;
    if (key === "c" && !getSelection().toString()) return actions.copy(), true;
    return false;
  }

  function holdTab(event) {
    if (event.repeat || tab) return;
    tab = { since: performance.now(), back: event.shiftKey };
    actions.showOriginal(true);
  }

  window.addEventListener("keyup", (event) => {
    if (event.key === " ") {
      tools.pan(false);
      tools.press(false);
    }
    if (event.key === "Tab" && tab) {
      const { since, back } = tab;
      tab = null;
      actions.showOriginal(false);
      if (performance.now() - since < SHORT_TAB) moveFocus(back);
    }
  });

  window.addEventListener("blur", () => {
    tab = null;
    tools.pan(false);
    tools.press(false);
    actions.showOriginal(false);
  });

  /** What a press of Tab does where it is not held. */
  function moveFocus(back) {
    const all = [...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")];
    const usable = all.filter((element) => element.tabIndex >= 0 && !element.disabled && element.checkVisibility());
    const place = usable.indexOf(document.activeElement); // -1, where nothing has the focus: the first, or the last
    usable.at(back ? Math.max(0, place) - 1 : (place + 1) % usable.length)?.focus({ focusVisible: true });
  }
}
