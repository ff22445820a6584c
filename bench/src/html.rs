//! The report as one HTML page: plots in inline SVG, nothing loaded from anywhere.

use crate::report::Report;

/// Everything but the data; `REPORT` is replaced.
const PAGE: &str = include_str!("report.html");

/// The page.
///
/// # Errors
/// A report that cannot be written as JSON.
pub fn page(report: &Report) -> Result<String, String> {
    let json = serde_json::to_string(report).map_err(|error| error.to_string())?;
    // `<` would let text end the script element that holds the data.
    let json = json.replace('<', "\\u003c");
    let table = report.table().replace('&', "&amp;").replace('<', "&lt;");
    Ok(PAGE.replacen("/*REPORT*/", &json, 1).replacen("<!--TABLE-->", &table, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_the_data_and_loads_nothing() {
        let report = Report { title: "a</script>b".into(), ..Report::default() };
        let page = page(&report).unwrap();
        assert!(page.contains("a\\u003c/script>b") && page.contains("a&lt;/script>b"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.replace("http://www.w3.org", "").contains(outside), "{outside}");
        }
    }
}
