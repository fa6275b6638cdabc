//! A page of Markdown: its blocks of code, its tables, its headings and its links, as far as our own
//! pages have them.

use std::path::Path;

/// How the files end that blocks are saved as.
const ENDINGS: [&str; 7] = ["sh", "py", "mjs", "cjs", "rb", "php", "rs"];

/// A page.
pub struct Page {
    name: String,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// What stands between two fences.
pub struct Block {
    /// The heading of the second level that it stands under.
    pub section: String,
    /// As the fence says.
    pub language: String,
    pub text: String,
    /// Where its first line is.
    pub line: usize,
}

impl Block {
    /// The file that the first line says it is: `# send.py: …`, `// send.mjs`, `<?php // send.php`.
    pub fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let first = first.strip_prefix("<?php ").unwrap_or(first);
        let comment = ["# ", "// "]
            .into_iter()
            .find_map(|mark| first.strip_prefix(mark))?;
        let name = comment.split(':').next()?;
        let (stem, ending) = name.rsplit_once('.')?;
        let is_name = !stem.contains(' ') && ENDINGS.contains(&ending);
        is_name.then_some(name)
    }
}

impl Page {
    /// A page of `docs`.
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        Self::at(&folder.join(name))
    }

    /// A page anywhere.
    pub fn at(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            blocks: blocks(&text),
            text,
        }
    }

    /// The program that is to be saved as this file.
    #[track_caller]
    pub fn program(&self, section: &str, file: &str) -> &str {
        let mut found = self.blocks.iter();
        let found = found.find(|block| block.section == section && block.file() == Some(file));
        let name = &self.name;
        let program = found.unwrap_or_else(|| panic!("{name} has no {file} under {section}"));
        &program.text
    }

    /// The commands, in their order.
    pub fn commands(&self) -> Vec<&str> {
        let blocks = self.blocks.iter();
        let commands = blocks.filter(|block| block.language == "sh" && block.file().is_none());
        commands.map(|block| block.text.as_str()).collect()
    }

    /// The rows of the tables under a heading of any level, each as its cells.
    #[track_caller]
    pub fn rows(&self, heading: &str) -> Vec<Vec<&str>> {
        let mut lines = self.text.lines();
        let is_heading = |line: &&str| line.starts_with('#') && line.ends_with(heading);
        assert!(lines.any(|line| is_heading(&line)), "no {heading}");
        let part = lines.take_while(|line| !line.starts_with("##"));
        let rows = part.filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
        let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
        // The first one says what the others hold.
        cells.skip(1).collect()
    }

    /// The headings, without their marks.
    pub fn headings(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().filter(|line| line.starts_with('#'));
        lines.map(|line| line.trim_start_matches('#').trim())
    }

    /// Where its links lead.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let after = self.text.split("](").skip(1);
        after.filter_map(|rest| rest.split(')').next())
    }
}

/// What a heading is linked to by.
pub fn anchor(heading: &str) -> String {
    let letters = heading.to_lowercase();
    let letters = letters
        .chars()
        .map(|letter| if letter == ' ' { '-' } else { letter });
    letters
        .filter(|letter| letter.is_alphanumeric() || ['-', '_'].contains(letter))
        .collect()
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut section) = (Vec::new(), "");
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line);
            let inside = inside.take_while(|line| line.trim() != "```");
            blocks.push(Block {
                section: section.to_owned(),
                language: language.to_owned(),
                text: inside.flat_map(|line| [line, "\n"]).collect(),
                line: index + 2,
            });
        }
    }
    blocks
}

#[test]
fn blocks_and_tables_are_found() {
    let text = "# A\n## B c\n```sh\n# x.sh: y\nls\n```\n```python\na = 1\n```\n\
                | n | m |\n| --- | --- |\n| `1` | two |\n## C\n| 3 | 4 |\n[l](m#n)\n";
    let page = Page {
        name: "test".to_owned(),
        text: text.to_owned(),
        blocks: blocks(text),
    };
    let [first, second] = &page.blocks[..] else {
        panic!("there are two");
    };
    assert_eq!((first.section.as_str(), first.line), ("B c", 4));
    assert_eq!((first.file(), second.file()), (Some("x.sh"), None));
    assert_eq!(page.program("B c", "x.sh"), "# x.sh: y\nls\n");
    assert_eq!(second.language, "python");
    assert_eq!(page.rows("B c"), [["`1`", "two"]]);
    assert_eq!(page.links().collect::<Vec<_>>(), ["m#n"]);
    assert_eq!(anchor("What is `a_b`, then?"), "what-is-a_b-then");
}
