"""What openpyxl reads in the workbook that is named, as JSON, with what each formula comes to when it is calculated anew."""

import datetime
import json
import re
import sys

import openpyxl
from openpyxl.utils import range_boundaries

formulas = openpyxl.load_workbook(sys.argv[1])
values = openpyxl.load_workbook(sys.argv[1], data_only=True)


def cells(sheet, reference):
    """The values of a range such as Figures!$A$2:$A$9 or C2."""
    name, _, area = reference.rpartition("!")
    left, top, right, bottom = range_boundaries(area.replace("$", ""))
    rows = values[name or sheet].iter_rows(min_row=top, max_row=bottom, min_col=left, max_col=right, values_only=True)
    return [value for row in rows for value in row]


def criterion(sheet, text):
    if text.startswith('"'):
        return text.strip('"')
    function = re.fullmatch(r"(MIN|MAX)\((.+)\)", text)
    if function:
        return {"MIN": min, "MAX": max}[function[1]](cells(sheet, function[2]))
    return cells(sheet, text)[0]


def calculated(sheet, formula):
    sumifs = re.fullmatch(r"=SUMIFS\((.+)\)", formula)
    if sumifs:
        figures, *rest = sumifs[1].split(",")
        kept = [True] * len(cells(sheet, figures))
        for area, text in zip(rest[::2], rest[1::2]):
            wanted = criterion(sheet, text)
            kept = [keep and value == wanted for keep, value in zip(kept, cells(sheet, area))]
        return sum(value or 0 for keep, value in zip(kept, cells(sheet, figures)) if keep)
    total = re.fullmatch(r"=SUM\((.+)\)", formula)
    if total:
        return sum(value or 0 for value in cells(sheet, total[1]))
    parts = re.findall(r"([+-]?)([A-Z]+[0-9]+)", formula)
    assert "=" + "".join(sign + name for sign, name in parts) == formula, formula
    return sum((-1 if sign == "-" else 1) * (cells(sheet, name)[0] or 0) for sign, name in parts)


def shown(value):
    if isinstance(value, datetime.datetime):
        text = value.isoformat(timespec="seconds")
        return text.removesuffix(":00").removesuffix("T00:00")
    return value


def read(sheet):
    rows = []
    for row, results in zip(sheet.iter_rows(), values[sheet.title].iter_rows(values_only=True)):
        out = []
        for cell, cached in zip(row, results):
            is_formula = cell.data_type == "f"
            out.append(
                {
                    "value": shown(cached),
                    "type": cell.data_type,
                    "form": cell.number_format,
                    "quoted": bool(cell.quotePrefix),
                    "calculated": calculated(sheet.title, cell.value) if is_formula else None,
                }
            )
        rows.append(out)
    charts = [
        [[series.cat.numRef.f if series.cat.numRef else series.cat.strRef.f, series.val.numRef.f] for series in chart.series]
        for chart in sheet._charts
    ]
    widths = [dimension.width for dimension in sheet.column_dimensions.values()]
    return {"name": sheet.title, "frozen": sheet.freeze_panes, "rows": rows, "charts": charts, "widths": widths}


book = {
    "sheets": [read(sheet) for sheet in formulas],
    "title": formulas.properties.title,
    "created": formulas.properties.created.isoformat(),
    "modified": formulas.properties.modified.isoformat(),
}
json.dump(book, sys.stdout)
