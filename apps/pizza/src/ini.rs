//! Files of librdkafka's properties, in a section of their own.

/// The section that is read; others are passed over.
const SECTION: &str = "kafka";

/// The properties of the section `[kafka]`, in its order: `name = value` a line, where `#` or `;`
/// begin a comment.
///
/// # Errors
/// If a line of the section is none of these; the error has its number, from 1.
pub fn properties(text: &str) -> Result<Vec<(String, String)>, usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut is_ours = false;
    let mut properties = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_ours = section.trim() == SECTION;
        } else if is_ours {
            let (name, value) = line.split_once(['=', ':']).ok_or(number)?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() {
                return Err(number);
            }
            properties.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_properties_is_read_and_the_others_are_not() {
        let text = "\u{feff}# a comment\n[kafka]\nbootstrap.servers = localhost:9092,b:1\n\
                    ; another\nsecurity.protocol=SASL_SSL\r\n\n[other]\nno property\n[ kafka ]\na=b=c";
        let expected = [
            ("bootstrap.servers", "localhost:9092,b:1"),
            ("security.protocol", "SASL_SSL"),
            ("a", "b=c"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(properties(text).unwrap(), expected);
    }

    #[test]
    fn a_wrong_line_has_its_number() {
        assert_eq!(properties("[kafka]\n\nbootstrap.servers"), Err(3));
        assert_eq!(properties("[kafka]\n= value"), Err(2));
    }
}
