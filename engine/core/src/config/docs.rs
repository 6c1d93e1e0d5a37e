//! The table of options as documentation and as the default configuration file.

use super::options::SECTIONS;

/// The table as a page of Markdown.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\nKeys of `conf/flott-conf.yaml` and of `-D key=value`. Where Flink has the key, it has Flink's name. \
         Keys that begin with `user.` are yours; `flink.hadoop.KEY` sets KEY of Hadoop's configuration. Dotted and nested keys mean the same.\n",
    );
    for section in SECTIONS {
        page += &format!(
            "\n## {}\n\n| key | value | default | what it does |\n|---|---|---|---|\n",
            section.title
        );
        for row in section.rows {
            let default = row.default().map_or_else(|| "unset".to_owned(), |default| format!("`{default}`"));
            // A bar would end the cell.
            let kind = row.kind().replace('|', "\\|");
            let description = row.description.trim().replace('|', "\\|");
            page += &format!("| `{}` | {kind} | {default} | {description} |\n", row.key);
        }
    }
    page
}

/// The default configuration file: every option with its default, commented out.
pub fn default_file() -> String {
    let mut file = String::from(
        "# Flott's configuration. What is commented out shows the default, or in angle brackets what a value looks like.\n\
         # docs/configuration.md has the whole table.\n",
    );
    for section in SECTIONS {
        file += &format!("\n# ---- {} ----\n", section.title);
        for row in section.rows {
            let shown = row.default().unwrap_or_else(|| format!("<{}>", row.kind()));
            file += &format!("\n# {}\n# {}: {shown}\n", row.description.trim(), row.key);
        }
    }
    file
}
