//! Tables for a terminal; piped, they are the same without their style.

use std::io::{self, Write};

use anstyle::Style;
use jobstream::reason::bounded;

use crate::one_line;

/// A column's title, and its width in characters; what is longer pushes the rest to the right, and
/// is cut where it is longer than a reason may be.
type Column = (&'static str, usize);

/// Rows below titles, each written at once.
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    has_titles: bool,
}

impl<const N: usize> Table<N> {
    /// A table with these columns; the titles come with the first row.
    pub(crate) const fn new(columns: [Column; N]) -> Self {
        Self { columns, has_titles: false }
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, out: &mut impl Write, cells: [&str; N]) -> io::Result<()> {
        if !self.has_titles {
            self.has_titles = true;
            let titles = self.line(self.columns.map(|(title, _)| title));
            let bold = Style::new().bold();
            writeln!(out, "{bold}{titles}{bold:#}")?;
        }
        writeln!(out, "{}", self.line(cells))
    }

    fn line(&self, cells: [&str; N]) -> String {
        let mut line = String::new();
        for ((_, width), cell) in self.columns.iter().zip(cells) {
            line.push_str(&format!("{:<width$}  ", one_line(&bounded(cell))));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Bytes as a text for people: `-` where there are none, and U+FFFD for what is no UTF-8.
pub(crate) fn plain(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| one_line(&String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_once_and_nothing_trails() {
        let mut table = Table::new([("AT", 4), ("KEY", 3)]);
        let mut out = Vec::new();
        table.row(&mut out, ["0:1", "a"]).unwrap();
        table.row(&mut out, ["0:22222", ""]).unwrap();
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        assert_eq!(String::from_utf8(text).unwrap(), "AT    KEY\n0:1   a\n0:22222\n");
    }

    #[test]
    fn no_byte_of_a_record_commands_the_terminal() {
        assert_eq!(plain(Some(b"a\x1b[31m\n\xffb")), "a\\u{1b}[31m\\n\u{fffd}b");
        assert_eq!(plain(None), "-");
    }
}
