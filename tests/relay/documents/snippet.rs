//! A snippet of a document: its text as it was published, in which an address, a path or a key can be
//! exchanged, and nothing else.

use std::path::Path;

/// All that may be exchanged: what the documents hold in place of a reader's own.
const PLACEHOLDERS: [&str; 8] = [
    "https://stage-api.oemstream.com",
    "https://api.saleswebhooks.com",
    "your-integration-key",
    "key_8Yx9Kj2Mn",
    "your-api-key-here",
    "lwa.sk_live_YOUR_EXISTING_KEY",
    // With its quotes where a variable takes its place.
    "'lwa.sk_live_YOUR_API_KEY'",
    "lwa.sk_live_YOUR_API_KEY",
];

/// A snippet, on its way to being a program.
#[derive(Debug, Clone)]
pub struct Snippet {
    /// How its file ends.
    extension: String,
    text: String,
}

impl Snippet {
    /// A file of the folder `documents`.
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay/documents");
        let path = folder.join(name);
        Self {
            extension: path.extension().unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(path).unwrap(),
        }
    }

    /// Exchanges a placeholder, which must be there.
    #[track_caller]
    pub fn with(mut self, placeholder: &str, ours: &str) -> Self {
        assert!(PLACEHOLDERS.contains(&placeholder), "{placeholder} stays");
        assert_eq!(self.text.matches(placeholder).count(), 1, "{placeholder}");
        self.text = self.text.replace(placeholder, ours);
        self
    }

    /// Goes on with another snippet.
    pub fn then(mut self, next: &Self) -> Self {
        self.text.push_str(&next.text);
        self
    }

    /// Goes on with a line of a reader's own: what he does with what the snippet leaves him with.
    pub fn then_reader(mut self, line: &str) -> Self {
        self.text.push_str(line);
        self.text.push('\n');
        self
    }

    /// Writes it into a folder; returns the file's name.
    #[track_caller]
    pub fn write_into(&self, folder: &Path) -> String {
        for placeholder in PLACEHOLDERS {
            assert!(!self.text.contains(placeholder), "{placeholder} is left");
        }
        let name = format!("snippet.{}", self.extension);
        std::fs::write(folder.join(&name), &self.text).unwrap();
        name
    }
}
