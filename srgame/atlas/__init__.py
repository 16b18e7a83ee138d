"""One page on which a researcher browses the filters of one or more networks: `srgame atlas`.

Start with `measure.py`, which fills the cells of `cells.py`: what the page shows. `stored.py` reads what earlier runs
measured, `maps.py` turns feature maps into sprite sheets, and `page.py` writes everything into one HTML file, whose
layout, style and script are page.html, page.css and page.js.
"""
