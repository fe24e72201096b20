/** Menus: one is open at a time, and each closes when something else is pressed. */

const all = () => document.querySelectorAll("details.menu[open]");

/** Close the menus, but one. */
export function closeMenus(but = null) {
  for (const menu of all()) if (menu !== but) menu.open = false;
}

/** Close the menu that is open and go back to its button; says whether one was. */
export function leaveMenu() {
  const [menu] = all();
  if (!menu) return false;
  closeMenus();
  menu.querySelector("summary").focus();
  return true;
}

export function wireMenus() {
  for (const item of document.querySelectorAll(".item, .finders")) item.addEventListener("click", () => closeMenus());
  for (const menu of document.querySelectorAll("details.menu")) {
    menu.addEventListener("toggle", () => menu.open && closeMenus(menu));
  }
  document.addEventListener("pointerdown", ({ target }) => target.closest("details.menu") || closeMenus());
}
