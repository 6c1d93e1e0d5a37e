//! The table of options as documentation and as the default configuration file.

use super::options::OPTIONS;

/// The table as a page of Markdown.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\nKeys of `conf/flott-conf.yaml` and of `-D key=value`. Where Flink has the key, it has Flink's name. \
         Keys that begin with `user.` are yours.\n\n| key | value | default | what it does |\n|---|---|---|---|\n",
    );
    for row in OPTIONS {
        let default = row.default.map_or_else(|| "unset".to_owned(), |default| format!("`{default}`"));
        page += &format!("| `{}` | {} | {default} | {} |\n", row.key, row.kind, row.description.trim());
    }
    page
}

/// The default configuration file: every option with its default, commented out.
pub fn default_file() -> String {
    let mut file = String::from(
        "# Flott's configuration. What is commented out shows the default. docs/configuration.md has the whole table.\n",
    );
    for row in OPTIONS {
        let default = row.default.unwrap_or("");
        file += &format!("\n# {}\n# {}: {default}\n", row.description.trim(), row.key);
    }
    file
}
