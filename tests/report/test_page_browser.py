"""The page in a real browser: what it shows, what it answers, and that it keeps to itself."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgesr.report import parse
from edgesr.report.page import write_page
from edgesr.report.pictures import LEVELS, TRUTH, Pictures

selenium = pytest.importorskip("selenium", reason="needs the extra `browser`")

from selenium.webdriver import Chrome, ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"
)
BANDS, HEIGHT, WIDTH = 6, 12, 20
NAMES = (TRUTH, "bicubic", "teacher", "student", "int8")
WAVELENGTHS = [450.0, 460.0, 550.0, 560.0, 640.0, 650.0]
LOWER, UPPER = [100.0 * b for b in range(BANDS)], [100.0 * b + 2000 for b in range(BANDS)]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    random = np.random.default_rng(3)
    truth = random.uniform(size=(BANDS, HEIGHT, WIDTH))
    images = {
        name: np.clip(truth + 0.1 * i * random.normal(size=truth.shape), 0, 1).astype("float32")
        for i, name in enumerate(NAMES)
    }
    return Pictures.of_window(images, WAVELENGTHS, (30, 40))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",  # as root in a container
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def path(report, pictures, read_result, tmp_path) -> Path:
    report["data"]["normalisation"] = {"mode": "band", "lower": LOWER, "upper": UPPER}
    report["teacher"]["naive_latency_ms"] = report["teacher"]["latency_ms"] | {"median": 95.0}
    return write_page(parse(report), pictures, tmp_path / "report.html", [read_result()])


@pytest.fixture
def page(browser: Chrome, path: Path) -> Chrome:
    return show(browser, path)


def show(browser: Chrome, path: Path, theme: str = "light", width: int = 1200) -> Chrome:
    wishes = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
    media = {"features": [{"name": name, "value": value} for name, value in wishes.items()]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    browser.execute_script("try { localStorage.clear() } catch (_) {}")
    wait(lambda: browser.execute_script(
        "return document.documentElement.dataset.ready && find('pictures')?.dataset.ready;"
        "function find(id) { return document.getElementById(id) }"
    ))  # fmt: skip
    return browser


def wait(holds: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)


def canvas(page: Chrome, name: str, kind: str = "picture") -> np.ndarray:
    """Red, green and blue [H, W, 3] as the canvas holds them."""
    numbers = page.execute_script(
        'const c = document.querySelector(`[data-name="${arguments[0]}"] .${arguments[1]} canvas`);'
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
        name,
        kind,
    )
    return np.reshape(numbers, (HEIGHT, WIDTH, 4))[..., :3].astype(int)


def stretched(pictures: Pictures, name: str, bands: list[int]) -> np.ndarray:
    """What a canvas should hold: each band from its 2nd to its 98th percentile of the truth."""
    channels = []
    for band in bands:
        values = np.sort(pictures.quantised(TRUTH)[band].ravel())
        low, high = (values[round(share * (values.size - 1))] for share in (0.02, 0.98))
        image = pictures.quantised(name)[band].astype(float)
        channels.append(np.clip(255 * (image - low) / (int(high) - int(low)), 0, 255))
    return np.stack(channels, axis=-1)


def find(page: Chrome, identity: str) -> Any:
    return page.find_element(By.ID, identity)


def choose_band(page: Chrome, number: int) -> None:
    page.execute_script(
        "const s = document.getElementById('band'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))",
        number,
    )


def single_band(page: Chrome, number: int) -> None:
    page.find_element(By.CSS_SELECTOR, "input[value=single] + span").click()
    choose_band(page, number)


def test_it_opens_without_an_error_and_asks_nobody(page, path):
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    sent = [
        message["params"]["request"]["url"]
        for entry in page.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    assert path.as_uri() in sent
    assert {url.split(":")[0] for url in sent} <= {"file", "data", "blob"}
    assert {url for url in sent if url.startswith("file")} == {path.as_uri()}


def test_the_composite_is_red_green_and_blue(page, pictures):
    for name in NAMES:
        expected = stretched(pictures, name, [4, 2, 1])  # 640, 550 and 460 nm
        np.testing.assert_allclose(canvas(page, name), expected, atol=1)


def test_the_chooser_changes_the_pictures_and_their_errors(page, pictures):
    single_band(page, 2)
    for band in (1, 5):
        choose_band(page, band + 1)
        for name in NAMES:
            expected = stretched(pictures, name, [band] * 3)
            np.testing.assert_allclose(canvas(page, name), expected, atol=1)
        assert find(page, "band-label").text == f"{WAVELENGTHS[band]:.0f} nm, band {band + 1} of 6"
        truth, student = (pictures.quantised(name)[band] / LEVELS for name in (TRUTH, "student"))
        told = page.find_element(By.CSS_SELECTOR, "[data-name=student] .psnr").text
        psnr = 10 * np.log10(1 / np.mean((student - truth) ** 2))
        assert float(told.split()[0]) == pytest.approx(psnr, abs=0.006)
        error = np.abs(student - truth)
        shown = canvas(page, "student", "error").sum(axis=-1)  # the colours grow lighter
        order = np.argsort(error, axis=None)
        assert shown.flat[order[-10:]].mean() > 2 * shown.flat[order[:10]].mean()
    page.find_element(By.CSS_SELECTOR, "input[value=colour] + span").click()
    np.testing.assert_allclose(
        canvas(page, "student"), stretched(pictures, "student", [4, 2, 1]), atol=1
    )


def test_the_mean_psnr_is_that_of_the_metric(page, pictures):
    truth, teacher = (pictures.quantised(name) / LEVELS for name in (TRUTH, "teacher"))
    mpsnr = np.mean(10 * np.log10(1 / np.mean((teacher - truth) ** 2, axis=(1, 2))))
    told = page.find_element(By.CSS_SELECTOR, "[data-name=teacher] .psnr").text
    assert float(told.split()[0]) == pytest.approx(mpsnr, abs=0.006)


def spectra(page: Chrome) -> dict[str, list[float]]:
    """Drawn lines by name, without their breaks."""
    traces = page.execute_script(
        "return document.getElementById('spectra').data.map(t => [t.name, t.x, t.y])"
    )
    return {name: [v for v in y if v is not None] for name, _, y in traces}


def test_a_clicked_pixel_draws_its_spectra(page, pictures):
    row, column = 3, 17
    element = page.find_element(By.CSS_SELECTOR, "[data-name=student] .error canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    box = element.size
    ActionChains(page).move_to_element_with_offset(
        element,
        round((column + 0.5) / WIDTH * box["width"] - box["width"] / 2),
        round((row + 0.5) / HEIGHT * box["height"] - box["height"] / 2),
    ).click().perform()
    assert find(page, "pixel-told").text == f"Spectra at row {30 + row}, column {40 + column}"
    drawn = spectra(page)
    assert list(drawn) == list(NAMES)
    for name in NAMES:
        values = pictures.quantised(name)[:, row, column] / LEVELS
        native = np.array(LOWER) + values * (np.array(UPPER) - np.array(LOWER))
        np.testing.assert_allclose(drawn[name], native, rtol=1e-6)
    page.execute_script(
        "const u = document.getElementById('units'); u.value = 'normalised';"
        "u.dispatchEvent(new Event('change'))"
    )
    a, b = (pictures.quantised(name)[:, row, column] / LEVELS for name in ("student", TRUTH))
    np.testing.assert_allclose(spectra(page)["student"], a, atol=1e-6)
    cells = page.find_elements(By.CSS_SELECTOR, "#pixel-table [data-name=student] td")
    angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert float(cells[0].text) == pytest.approx(angle, abs=0.006)
    assert float(cells[1].text) == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), abs=6e-5)


def test_lines_break_where_bands_are_missing(page):
    x = page.execute_script("return document.getElementById('spectra').data[0].x")
    y = page.execute_script("return document.getElementById('spectra').data[0].y")
    assert [x[i] for i, value in enumerate(y) if value is None] == [550, 640]


def test_everything_can_be_reached_and_done_with_keys(page):
    order = []
    page.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        element = page.switch_to.active_element
        order.append(element.get_attribute("id") or element.text or element.tag_name)
        if order[-1] == "body":
            break
    wanted = [
        *("Skip to the report", "edgesr", "Result", "theme", "red", "blue", "grid", "row"),
        *("column", "units", "All 5 candidates", "Every option of the run (recipe.toml)"),
    ]
    places = [order.index(name) for name in wanted]
    assert places == sorted(places)
    grid = find(page, "grid")
    page.execute_script("arguments[0].focus()", grid)
    ActionChains(page).send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).perform()
    assert find(page, "pixel-told").text == "Spectra at row 37, column 52"
    box = find(page, "row")
    box.clear()
    box.send_keys("99", Keys.TAB)
    assert find(page, "pixel-told").text == "Spectra at row 41, column 52"  # the last one


def colours(page: Chrome) -> tuple[str, str]:
    return tuple(
        page.execute_script(
            "return [getComputedStyle(document.body).backgroundColor,"
            " document.getElementById('share').layout.font.color]"
        )
    )


LIGHT, DARK = ("rgb(255, 255, 255)", "#17232e"), ("rgb(16, 23, 30)", "#e6ecf1")


def test_the_theme_is_the_systems_until_the_reader_chooses(browser, path):
    page = show(browser, path, "dark")
    assert colours(page) == DARK
    find(page, "theme").click()
    assert colours(page) == LIGHT
    assert find(page, "theme").text == "Dark"
    page.refresh()
    wait(lambda: page.execute_script("return document.documentElement.dataset.ready"))
    assert colours(page) == LIGHT
    page.execute_script("localStorage.clear()")
    assert colours(show(browser, path, "light")) == LIGHT


def test_paper_is_light_and_narrow_enough(browser, path):
    page = show(browser, path, "dark")
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert (
        page.execute_script("return document.getElementById('share').layout.font.color") == LIGHT[1]
    )
    widths = "return [...document.querySelectorAll('.chart .main-svg')].map(s => s.clientWidth)"
    assert set(page.execute_script(widths)) == {680}
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert colours(page) == DARK
    assert max(page.execute_script(widths)) > 1000
    pdf = page.print_page()
    assert pdf.startswith("JVBERi0")  # %PDF-


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_sticks_out(browser, path, width):
    page = show(browser, path, width=width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    outside = page.execute_script(
        "return [...document.querySelectorAll('section, .chart, .chart .main-svg, figure')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 99))"
    )
    assert outside == []
    ink = np.asarray(Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("L"))
    assert 0.001 < np.mean(ink < 100) < 0.5
