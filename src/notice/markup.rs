//! What the HTML of a mail may not have: anything that is loaded from elsewhere, programs, and values that escaping does not
//! protect. Links are fine.
//!
//! It looks at templates as they are written, where it can say the line, and at what their samples came to, where nothing is hidden
//! any more.

/// What stands for `{{ }}` while a template is looked at.
const VALUE: char = '\u{1}';
/// Elements that load something or run it, whatever their attributes.
const ELEMENTS: [&str; 9] = ["script", "link", "iframe", "frame", "object", "embed", "base", "applet", "portal"];
/// Attributes whose value is loaded; a picture of the mail itself is named by `cid:`.
const LOADED: [&str; 6] = ["src", "srcset", "background", "poster", "data", "xlink:href"];

/// What is wrong, and in which line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

/// The first fault of a template: what stands in `{{ }}` is not known, and that a whole value is loaded neither.
pub(super) fn of_template(source: &str) -> Option<Fault> {
    first(&without_tera(source))
}

/// The first fault of HTML.
pub(super) fn of_html(html: &str) -> Option<Fault> {
    first(html)
}

/// `source` with [`VALUE`] for what is put in, and nothing for what Tera does besides; in the same lines.
fn without_tera(source: &str) -> String {
    let mut html = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        html.push_str(before);
        let end = match from.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                html.push('{');
                rest = &from[1..];
                continue;
            }
        };
        let length = from.find(end).map_or(from.len(), |end| end + 2);
        if end == "}}" {
            html.push(VALUE);
        }
        html.extend(from[..length].chars().filter(|c| *c == '\n'));
        rest = &from[length..];
    }
    html.push_str(rest);
    html
}

fn first(html: &str) -> Option<Fault> {
    let fault = |rest: &str, what: String| {
        let before = &html[..html.len() - rest.len()];
        Some(Fault { line: before.matches('\n').count() + 1, what })
    };
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        // What stands between elements matters in style sheets alone, where it is text of its own.
        let tag = &rest[at..];
        let mut inside = &tag[1..];
        let name = word(&mut inside).to_ascii_lowercase();
        if name.is_empty() {
            rest = inside;
            continue;
        }
        if ELEMENTS.contains(&name.as_str()) {
            return fault(tag, format!("<{name}>, which loads or runs something"));
        }
        while let Some((here, attribute, value, is_quoted)) = next_attribute(&mut inside) {
            if let Some(what) = wrong(&attribute, value, is_quoted) {
                return fault(here, what);
            }
        }
        if name == "style" {
            let (sheet, _) = inside.split_once("</style").unwrap_or((inside, ""));
            if let Some((at, what)) = loads(sheet) {
                return fault(&inside[at..], what);
            }
        }
        rest = inside;
    }
    None
}

/// The letters at the beginning, which are taken away.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let end = if rest.starts_with(|c: char| c.is_ascii_alphabetic()) { rest.find(|c| !is_part(c)) } else { Some(0) };
    let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after;
    word
}

/// The next attribute of an element: where it begins, its name, its value, and whether that is quoted. `None` at its end, behind
/// which `rest` goes on.
fn next_attribute<'a>(rest: &mut &'a str) -> Option<(&'a str, String, &'a str, bool)> {
    *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    let here = *rest;
    if here.is_empty() {
        return None;
    }
    if let Some(after) = here.strip_prefix('>') {
        *rest = after;
        return None;
    }
    let end = here.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(here.len());
    // A sign where a name should be is one, as it is to browsers.
    let end = end.max(here.chars().next().map_or(0, char::len_utf8));
    let (name, after) = here.split_at(end);
    *rest = after;
    let name = name.to_ascii_lowercase();
    let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
        return Some((here, name, "", true));
    };
    let (value, after, is_quoted) = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, after) = value[1..].split_once(quote).unwrap_or((&value[1..], ""));
            (value, after, true)
        }
        _ => {
            let end = value.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(value.len());
            (&value[..end], &value[end..], false)
        }
    };
    *rest = after;
    Some((here, name, value, is_quoted))
}

/// What is wrong with an attribute.
fn wrong(name: &str, value: &str, is_quoted: bool) -> Option<String> {
    if name.contains(VALUE) || (!is_quoted && value.contains(VALUE)) {
        return Some(
            "{{ }} in an element and not in quotes, where a value could add attributes: write name=\"{{ }}\""
                .to_owned(),
        );
    }
    if name.len() > 2 && name.starts_with("on") {
        return Some(format!("the attribute {name}, which runs a program"));
    }
    let plain = value.trim().to_ascii_lowercase();
    // What is put in is seen in the samples.
    let is_of_the_mail = plain.is_empty() || plain.starts_with("cid:") || plain.starts_with(VALUE);
    if LOADED.contains(&name) && !is_of_the_mail {
        return Some(format!(
            "{name}=\"{value}\", which is loaded from elsewhere; pictures of the mail itself begin with cid:"
        ));
    }
    if plain.starts_with("javascript:") {
        return Some(format!("the attribute {name} with javascript:, which runs a program"));
    }
    if name == "style" { loads(value).map(|(_, what)| what) } else { None }
}

/// Where a style sheet loads something.
fn loads(style: &str) -> Option<(usize, String)> {
    let lower = style.to_ascii_lowercase();
    ["url(", "@import", "expression("]
        .into_iter()
        .find_map(|what| Some((lower.find(what)?, format!("{what} in a style, which loads or runs something"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: Option<(usize, &str)>) {
        let found = of_template(source);
        let told = found.as_ref().map(|fault| (fault.line, fault.what.as_str()));
        match (told, expected) {
            (None, None) => {}
            (Some((line, what)), Some((at, said))) => assert!(line == at && what.contains(said), "{source}: {found:?}"),
            _ => panic!("{source}: {found:?}"),
        }
    }

    #[test]
    fn what_a_mail_may_not_have_is_found_with_its_line() {
        for (source, line, said) in [
            ("<p>\n<img src=\"https://x.example/a.png\">", 2, "src=\"https://x.example/a.png\""),
            ("<img alt=\"a\"\n src='//x.example/a.png'>", 2, "loaded from elsewhere"),
            ("<IMG SRC=http://x.example/a.png>", 1, "loaded from elsewhere"),
            ("<img src=\"https://x.example/{{ account }}.png\">", 1, "loaded from elsewhere"),
            ("<img srcset=\"a.png 2x\">", 1, "srcset"),
            ("<table><tr><td background=\"a.png\">", 1, "background"),
            ("<video poster=\"a.png\">", 1, "poster"),
            ("<p style=\"background: URL('https://x.example')\">", 1, "url( in a style"),
            ("<style>\n.a {}\n.b { background: url(a.png); }</style>", 3, "url( in a style"),
            ("<style>@import 'a.css';</style>", 1, "@import in a style"),
            ("\n<link rel=\"stylesheet\" href=\"a.css\">", 2, "<link>"),
            ("<!--[if mso]><script>1</script><![endif]-->", 1, "<script>"),
            ("<a href=\"#\" onclick=\"go()\">", 1, "onclick"),
            ("<a href=\"JavaScript:go()\">", 1, "javascript:"),
            ("{# <script> #}\n<a href={{ page_url }}>", 2, "not in quotes"),
            ("<a class=\"b\" title=a{{ account }}>", 1, "not in quotes"),
            ("<td {{ account }}>", 1, "not in quotes"),
            ("{% if a > 0 %}\n<td{% if b %} width={{ b }}{% endif %}>{% endif %}", 2, "not in quotes"),
        ] {
            check(source, Some((line, said)));
        }
    }

    #[test]
    fn what_a_mail_has_is_fine() {
        for source in [
            "<a href=\"https://x.example/?a=1&amp;b=2\" style=\"color:#fff;\">Order</a> or <a href='mailto:a@x.example'>write</a>",
            "<img src=\"cid:{{ chart.cid }}\" width=\"{{ chart.width }}\" alt=\"{{ chart.description }}\">",
            "{{ <stretch share={share.free} color=\"#0d9488\"/> }}{% if a < b %}<br>{% endif %}",
            "<td style=\"padding:8px;{{ rule }}\">1 < 2 and url(, src=\"https://x.example\"</td>",
            "<style>.a { color: red; }</style><p>@import</p><meta http-equiv=\"x\" content=\"y\">",
        ] {
            check(source, None);
        }
    }

    #[test]
    fn what_is_put_in_is_seen_when_it_is_there() {
        check("<img src=\"{{ account }}\">", None);
        let fault = of_html("<p>\n<img src=\"https://x.example/a.png\">").expect("a fault");
        assert_eq!(fault.line, 2);
    }

    #[test]
    fn our_own_templates_have_nothing_of_it() {
        for file in super::super::EMBEDDED.files() {
            let source = file.contents_utf8().expect("text");
            assert_eq!(of_template(source), None, "{}", file.path().display());
        }
    }
}
