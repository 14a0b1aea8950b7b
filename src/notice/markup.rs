//! What the HTML of a mail may have: what mails are made of, and nothing that could be loaded from elsewhere or run. Links are fine.
//!
//! What is not known to be harmless is refused, since there are more ways to load something than anybody can list. It looks at
//! templates as they are written, where it can say the line, and at finished mails, where nothing is hidden any more.

/// What stands for `{{ }}` while a template is looked at.
const VALUE: char = '\u{1}';
/// Elements that mails are made of.
#[rustfmt::skip]
const ELEMENTS: [&str; 63] = [
    "html", "head", "title", "meta", "style", "body",
    "table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td",
    "div", "span", "p", "br", "hr", "wbr", "center", "font", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd",
    "main", "header", "footer", "section", "article", "address", "blockquote", "pre",
    "a", "img", "b", "i", "u", "s", "strong", "em", "small", "big", "sub", "sup", "code", "kbd", "mark", "abbr", "del", "ins", "bdi",
];
/// Attributes that any of them may have, besides `aria-`, `data-` and `xmlns`: all that they do is seen in the mail itself.
#[rustfmt::skip]
const ATTRIBUTES: [&str; 45] = [
    "class", "id", "title", "lang", "xml:lang", "dir", "role", "style", "align", "valign", "width", "height", "border", "color", "bgcolor",
    "bordercolor", "cellpadding", "cellspacing", "rules", "frame", "nowrap", "colspan", "rowspan", "span", "scope", "headers", "abbr",
    "summary", "alt", "hspace", "vspace", "face", "size", "noshade", "clear", "type", "start", "value", "link", "alink", "vlink", "text",
    "hidden", "target", "rel",
];
/// Where links may lead, as they begin.
const LINKS: [&str; 5] = ["http://", "https://", "mailto:", "tel:", "#"];
/// What loads or runs something in a style, and what could hide that.
const NOT_IN_STYLES: [&str; 11] = [
    "url(",
    "@import",
    "image(",
    "image-set",
    "cross-fade",
    "src(",
    "expression(",
    "behavior",
    "-moz-binding",
    "\\",
    "&",
];

/// What is wrong, and in which line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

/// The first fault of an HTML template: what stands in `{{ }}` is not known, and that a whole value is loaded neither.
pub(super) fn of_template(source: &str) -> Option<Fault> {
    of_html(&without_tera(source))
}

/// Where a template, of text or HTML, puts in something as it is: texts are put into HTML, too. Tera has no other word for it.
pub(super) fn unescaped(source: &str) -> Option<Fault> {
    let is_safe =
        |after: &str| after.trim_start().strip_prefix("safe").is_some_and(|rest| !rest.starts_with(is_of_a_name));
    let at = ["|", "filter"]
        .into_iter()
        .flat_map(|word| source.match_indices(word))
        .filter_map(|(at, word)| is_safe(&source[at + word.len()..]).then_some(at));
    let line = source[..at.min()?].matches('\n').count() + 1;
    Some(Fault {
        line,
        what: "the filter \"safe\", by which names from outside could be markup: leave it out".to_owned(),
    })
}

const fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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

/// The first fault of HTML.
///
/// No element can hide from it: it looks into comments as well, and takes no `<` within an element.
pub(super) fn of_html(html: &str) -> Option<Fault> {
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
        if !ELEMENTS.contains(&name.as_str()) {
            return fault(tag, format!("<{name}>, which is none of the elements that mails are made of"));
        }
        while let Some((here, attribute, value, is_quoted)) = next_attribute(&mut inside) {
            if let Some(what) = wrong(&name, &attribute, value, is_quoted) {
                return fault(here, what);
            }
        }
        if name == "style" {
            let (sheet, end) = inside.split_at(inside.find('<').unwrap_or(inside.len()));
            if let Some((at, what)) = loads(sheet) {
                return fault(&inside[at..], what);
            }
            if !end.get(..8).is_some_and(|end| end.eq_ignore_ascii_case("</style>")) {
                return fault(end, "a style sheet with < in it, or without its end </style>".to_owned());
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
    *rest = rest.trim_start_matches(|c: char| is_blank(c) || c == '/');
    let here = *rest;
    if here.is_empty() {
        return None;
    }
    if let Some(after) = here.strip_prefix('>') {
        *rest = after;
        return None;
    }
    let end = here.find(|c: char| is_blank(c) || matches!(c, '=' | '>' | '/')).unwrap_or(here.len());
    // A sign where a name should be is one, as it is to browsers.
    let end = end.max(here.chars().next().map_or(0, char::len_utf8));
    let (name, after) = here.split_at(end);
    *rest = after;
    let name = name.to_ascii_lowercase();
    let Some(value) =
        after.trim_start_matches(is_blank).strip_prefix('=').map(|value| value.trim_start_matches(is_blank))
    else {
        return Some((here, name, "", true));
    };
    let (value, after, is_quoted) = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, after) = value[1..].split_once(quote).unwrap_or((&value[1..], ""));
            (value, after, true)
        }
        _ => {
            let end = value.find(|c: char| is_blank(c) || c == '>').unwrap_or(value.len());
            (&value[..end], &value[end..], false)
        }
    };
    *rest = after;
    Some((here, name, value, is_quoted))
}

/// What is wrong with an attribute of an element.
fn wrong(element: &str, name: &str, value: &str, is_quoted: bool) -> Option<String> {
    if name.contains(VALUE) || (!is_quoted && value.contains(VALUE)) {
        return Some(
            "{{ }} in an element and not in quotes, where a value could add attributes: write name=\"{{ }}\""
                .to_owned(),
        );
    }
    if value.contains('<') {
        return Some(format!("< in the attribute {name}, which may lack the quote at its end; else write &lt;"));
    }
    let plain = value.trim_matches(is_blank).to_ascii_lowercase();
    // What is put in is seen in the finished mail.
    let begins = |with: &[&str]| plain.starts_with(VALUE) || with.iter().any(|with| plain.starts_with(with));
    match (element, name) {
        ("a", "href") if begins(&LINKS) => None,
        ("a", "href") => Some(format!("href=\"{value}\"; links begin with one of {}", LINKS.join(", "))),
        ("img", "src") if begins(&["cid:"]) => None,
        ("img", "src") => Some(format!(
            "src=\"{value}\", which is loaded from elsewhere; pictures of the mail itself begin with cid:"
        )),
        (_, "style") => loads(value).map(|(_, what)| what),
        ("meta", "charset" | "name" | "content") | ("a", "name") | ("style", "media") => None,
        ("meta", "http-equiv") => Some(
            "the attribute http-equiv, which can load something; for letters write <meta charset=\"utf-8\">".to_owned(),
        ),
        _ if ATTRIBUTES.contains(&name) => None,
        _ if ["aria-", "data-", "xmlns"].iter().any(|begin| name.starts_with(begin)) => None,
        _ => Some(format!("the attribute {name} of <{element}>, which is none of those that mails need")),
    }
}

/// Where a style sheet loads something, or could.
fn loads(style: &str) -> Option<(usize, String)> {
    let lower = style.to_ascii_lowercase();
    NOT_IN_STYLES.into_iter().find_map(|what| {
        let why = match what {
            "\\" | "&" => "could hide what loads or runs something",
            _ => "loads or runs something",
        };
        Some((lower.find(what)?, format!("{what} in a style, which {why}")))
    })
}

/// A blank as browsers know them in HTML.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
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
            ("<img srcset=\"a.png 2x\">", 1, "the attribute srcset of <img>"),
            ("<img src=\"cid:a\" lowsrc=\"http://x.example/a.png\">", 1, "lowsrc"),
            ("<img dynsrc=\"http://x.example/a.avi\">", 1, "dynsrc"),
            ("<td src=\"cid:a\">", 1, "the attribute src of <td>"),
            ("<table><tr><td background=\"a.png\">", 1, "background"),
            ("<video poster=\"a.png\">", 1, "<video>"),
            ("<p>\n<svg><image href=\"http://x.example/a.png\">", 2, "<svg>"),
            ("<image href=\"http://x.example/a.png\">", 1, "<image>"),
            ("<use href=\"http://x.example/a.svg#b\">", 1, "<use>"),
            ("<v:fill src=\"a.png\">", 1, "<v:fill>"),
            ("\n<link rel=\"stylesheet\" href=\"a.css\">", 2, "<link>"),
            ("<form action=\"http://x.example\"><input>", 1, "<form>"),
            ("<!--[if mso]><script>1</script><![endif]-->", 1, "<script>"),
            ("<meta http-equiv=\"refresh\" content=\"0;url=http://x.example\">", 1, "http-equiv"),
            ("<p style=\"background: URL('https://x.example')\">", 1, "url( in a style"),
            ("<p style=\"background:&#117;rl(http://x.example)\">", 1, "& in a style"),
            ("<p style=\"background:u\\72l(http://x.example)\">", 1, "\\ in a style"),
            ("<p style='background:image-set(\"http://x.example/a.png\" 1x)'>", 1, "image-set in a style"),
            ("<p style='background:src(\"http://x.example/a.png\")'>", 1, "src( in a style"),
            ("<p style=\"width:expression(go())\">", 1, "expression( in a style"),
            ("<style>\n.a {}\n.b { background: url(a.png); }</style>", 3, "url( in a style"),
            ("<style>@import 'a.css';</style>", 1, "@import in a style"),
            ("<style>@\\69mport 'a.css';</style>", 1, "\\ in a style"),
            ("<style>\n</stylex @import 'a.css';</style>", 2, "a style sheet with < in it"),
            ("<a href=\"#\" onclick=\"go()\">", 1, "onclick"),
            ("<a href=\"https://x.example\" ping=\"https://y.example\">", 1, "the attribute ping of <a>"),
            ("<p href=\"https://x.example\">", 1, "the attribute href of <p>"),
            ("<a href=\"JavaScript:go()\">", 1, "links begin with one of http://"),
            ("<a href=\"java&#115;cript:go()\">", 1, "links begin with one of http://"),
            ("<a href=\"//x.example\">", 1, "links begin with one of http://"),
            ("<!-- <a title=\" -->\n<img src=\"https://x.example\">", 1, "< in the attribute title"),
            ("<p title=a\u{a0}class=\" src=https://x.example \">", 1, "the attribute src"),
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
            "<style>.a { color: red; }</style><p>@import</p><meta charset=\"utf-8\"><meta name=\"x\" content=\"y\">",
            "<!--[if mso]><table width=\"600\"><tr><td><![endif]--><a href=\"{{ page_url }}\" target=\"_blank\" rel=\"noopener\" aria-label=\"a\">b</a>",
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
    fn what_is_not_escaped_is_found_with_its_line() {
        for (source, line) in [
            ("{{ account | safe }}", Some(1)),
            ("fine\n{% if a %}\n{{ account|upper |\n safe}}{% endif %}", Some(3)),
            ("{{ \"}}\" | safe }}", Some(1)),
            ("\n{%- filter safe -%}{{ account }}{%- endfilter %}", Some(2)),
            ("{{ account | upper }} is safe | safely {{ safe }}", None),
        ] {
            assert_eq!(unescaped(source).map(|fault| fault.line), line, "{source}");
        }
    }

    #[test]
    fn our_own_templates_have_nothing_of_it() {
        for file in super::super::EMBEDDED.files() {
            let source = file.contents_utf8().expect("text");
            assert_eq!((of_template(source), unescaped(source)), (None, None), "{}", file.path().display());
        }
    }
}
