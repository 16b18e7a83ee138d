"""The page in a real browser, which is Debian's chromium here (apt-get install chromium chromium-driver)."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from srgame.networks import SRResNet
from srgame.training.loop import seeded

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its chromedriver is installed")

Run = Callable[..., tuple[int, str, str]]
SMALLEST = 11  # pixels
TEXTS = """[...document.querySelectorAll("main *, header *")].filter(each => each.tagName !== "OPTION" &&
  [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()))"""
SMALL_TEXT = f"""return {TEXTS}.filter(each => parseFloat(getComputedStyle(each).fontSize) < arguments[0])
  .map(each => each.textContent)"""
FAINT_TEXT = (
    """
const luminance = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(each => each / 255)
  .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
  .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
const behind = each => {
  const own = getComputedStyle(each).backgroundColor;
  return own !== "rgba(0, 0, 0, 0)" ? own : each.parentElement ? behind(each.parentElement) : "rgb(255, 255, 255)";
};
const contrast = each => {
  const [a, b] = [luminance(getComputedStyle(each).color), luminance(behind(each))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};"""
    + f"return {TEXTS}.filter(each => !(each instanceof SVGElement) && contrast(each) < 4.5)"
    + ".map(each => each.textContent)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas of two networks, one of which has a hostile name."""
    from srgame.atlas.measure import Sample, measured
    from srgame.atlas.page import page_of
    from srgame.provenance import save_frame
    from srgame.shapley.until import Until

    out = tmp_path_factory.mktemp("atlas")
    networks = {
        name: seeded(lambda: SRResNet(features=8, blocks=1), seed)
        for seed, name in enumerate(("first", "<img src=x onerror=\"document.title='hacked'\">"))
    }
    for network in networks.values():
        with torch.no_grad():
            network.conv_hr.weight.mul_(4)
    atlas = measured(
        networks, ["body.0.conv1", "conv_hr"], Sample(images=2, crop=24), ["clean", "noise"],
        until=Until(evaluations=100), interacting=3,
    )  # fmt: skip
    save_frame(out / "atlas", atlas.frame(), {})
    (out / "atlas.html").write_text(page_of(atlas, {"settings": {"images": 2}}), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.implicitly_wait(5)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator["Page"]:
    browser.get("about:blank")
    browser.get((folder / "atlas.html").as_uri())
    browser.get_log("browser")
    yield Page(browser)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert browser.title.startswith("Atlas of first")


class Page:
    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def choose(self, control: str, option: str) -> None:
        for each in self.all(f"#choose-{control} option"):
            if each.get_attribute("value") == option or each.text == option:
                each.click()
                return
        raise AssertionError(option)

    def filters(self) -> list[int]:
        return [int(card.get_attribute("data-filter")) for card in self.all(".card")]

    def size(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.fixture
def numbers(folder: Path) -> Callable[..., pd.DataFrame]:
    frame = pd.read_csv(folder / "atlas.csv")

    def of(layer: str, checkpoint: str = "first", degradation: str = "clean") -> pd.DataFrame:
        at = frame[["checkpoint", "degradation", "layer"]] == [checkpoint, degradation, layer]
        return frame[at.all(axis=1)].reset_index(drop=True)

    return of


def shown(number: float, digits: int, sign: bool = False) -> str:
    return f"{number:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def test_cards_show_the_numbers_of_the_csv_in_their_order(page: Page, numbers: Callable[..., pd.DataFrame]) -> None:
    rows = numbers("conv_hr")
    page.one("nav").find_element("link text", "conv_hr").click()
    assert page.filters() == rows.sort_values("shapley", ascending=False).index.tolist()
    for card in page.all(".card"):
        row = rows.loc[int(card.get_attribute("data-filter"))]
        phi, _, error = card.find_element("css selector", ".phi").text.partition(" ± ")
        digits = len(phi.partition(".")[2])
        assert phi == shown(row["shapley"], digits, sign=True) and digits >= 2
        half = (row["high"] - row["low"]) / 2
        assert error == shown(half, digits) or (error[0] == "<" and half < float(error[1:]))
        response = card.find_element("css selector", ".response").text
        assert float(response) == pytest.approx(row["mean_abs"], rel=5e-3)
        nearest = f"#{row['nearest']:.0f}: {shown(row['cosine'], 2)}"
        assert nearest in card.text
    page.choose("sort", "response")
    assert page.filters() == rows.sort_values("mean_abs", ascending=False).index.tolist()
    page.one("#order").click()
    assert page.filters() == rows.sort_values("mean_abs").index.tolist()


def test_filters_are_filtered_by_kind_and_by_number(page: Page, numbers: Callable[..., pd.DataFrame]) -> None:
    rows = numbers("conv_hr")
    page.one("nav").find_element("link text", "conv_hr").click()
    page.choose("sort", "number")
    page.choose("show", "harmful")
    page.one("#order").click()
    harmful = rows.index[rows["high"] < 0].tolist()
    assert page.filters() == harmful
    assert page.one("#count").text == f"{len(harmful)} of 8 filters"
    page.choose("show", "all")
    page.one("#search").send_keys("2, 4-6")
    assert page.filters() == [2, 4, 5, 6]
    page.one("#search").send_keys(" x")
    assert page.filters() == []


def test_a_filter_opens_with_its_maps_numbers_and_partners(page: Page, numbers: Callable[..., pd.DataFrame]) -> None:
    rows = numbers("conv_hr")
    page.one("nav").find_element("link text", "conv_hr").click()
    first, second = page.filters()[:2]
    page.one(".card").click()
    assert page.one("h1").text == f"Filter {first} of conv_hr"
    assert page.driver.switch_to.active_element.text == page.one("h1").text  # a screen reader starts there
    assert len(page.all(".maps3 canvas[role=img]")) == 3
    drawn = "return [...document.querySelectorAll('.maps3 canvas[role=img]')].map(each => new Set(each.getContext('2d')"
    drawn += ".getImageData(0, 0, each.width, each.height).data).size > 3)"
    assert page.driver.execute_script(drawn) == [True] * 3
    facts = page.one("#facts").text
    assert page.one("#facts .phi").text.startswith(shown(rows["shapley"][first], 2, sign=True)[:4])
    assert f"{rows['rank'][first]} of 8" in facts
    alike = page.one(".partners a b")
    assert alike.text == f"#{rows['nearest'][first]:.0f}"
    page.one("body").send_keys(webdriver.Keys.ARROW_RIGHT)
    assert page.one("h1").text == f"Filter {second} of conv_hr"
    page.one("body").send_keys(webdriver.Keys.ESCAPE)
    assert page.one("h1").text == "conv_hr"


def test_networks_degradations_and_images_are_switched(page: Page, numbers: Callable[..., pd.DataFrame]) -> None:
    page.one("nav").find_element("link text", "body.0.conv1").click()
    evil = page.all("#choose-checkpoint option")[1].text
    assert evil.startswith("<img")
    for network, degradation in (("first", "noise"), (evil, "noise"), (evil, "clean")):
        page.choose("checkpoint", network)
        page.choose("degradation", degradation)
        rows = numbers("body.0.conv1", network, degradation)
        assert page.filters() == rows.sort_values("shapley", ascending=False, kind="stable").index.tolist()
    before = page.driver.execute_script("return document.querySelector('.card').href")
    page.choose("image", "chelsea")
    assert "image=1" in page.driver.execute_script("return document.querySelector('.card').href") != before
    assert not page.all("main img[src=x]")


def test_the_overview_shows_worth_and_psnr(page: Page, numbers: Callable[..., pd.DataFrame]) -> None:
    for layer in ("body.0.conv1", "conv_hr"):
        row = page.one(f"tr[data-layer='{layer}']").text.split()
        assert row[0] == layer and row[1] == "8"
        assert row[2] == shown(numbers(layer)["shapley"].sum(), 3)
    assert len(page.all("main figure img")) == 5
    assert "clean" in page.one("main").text and "PSNR, RGB (dB)" in page.one("main").text


def test_networks_are_compared_on_one_scale_and_matched_on_demand(page: Page) -> None:
    page.one("nav").find_element("link text", "Compare").click()
    text = page.one("main").text
    assert "do not correspond by their numbers" in text and "Hungarian" in text and "by chance" in text
    assert len(page.all("svg polyline")) == 4
    picture = "return [...document.querySelectorAll('.strip canvas')].map(each => each.toDataURL())"
    before = page.driver.execute_script(picture)
    page.one("#matched").click()
    after = page.driver.execute_script(picture)
    assert page.one("#matched").get_attribute("aria-pressed") == "true"
    assert before[0] == after[0] and before[1] != after[1]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_view_fits_and_is_readable(page: Page, width: int, theme: str) -> None:
    page.size(width)
    for view in ("", "#view=layer&layer=conv_hr", "#view=filter&layer=conv_hr&filter=3", "#view=compare&layer=conv_hr"):
        page.driver.execute_script(f"location.hash = '{view}'; setTheme('{theme}'); render()")
        assert page.driver.execute_script("return document.documentElement.dataset.theme") == theme
        page.driver.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width, view
        assert page.driver.execute_script(SMALL_TEXT, SMALLEST) == []
        assert page.driver.execute_script(FAINT_TEXT) == []
    page.driver.execute_script("localStorage.clear()")


def test_all_controls_are_reached_by_the_keyboard(page: Page) -> None:
    page.one("nav").find_element("link text", "conv_hr").click()
    reached = set()
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(webdriver.Keys.TAB)
        active = page.driver.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("data-filter") or active.text)
    controls = {"choose-checkpoint", "choose-degradation", "choose-image", "theme", "choose-sort", "order"}
    assert controls | {"choose-show", "search", "choose-scale"} | {str(k) for k in range(8)} <= reached


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Any, page: Page) -> None:
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.refresh()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    page.one("#theme").click()
    browser.refresh()
    assert browser.execute_script("return document.documentElement.dataset.theme") == "light"
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
