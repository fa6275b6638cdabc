//! Chance that can be repeated: `POSTRIDER_TEST_SEED` brings a printed seed back.

/// A stream of random numbers (`SplitMix64`).
pub struct Chance {
    origin: u64,
    state: u64,
}

impl Chance {
    /// A new stream; its seed is printed under this name.
    pub fn new(name: &str) -> Self {
        let given = std::env::var("POSTRIDER_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("POSTRIDER_TEST_SEED is a number"),
            None => getrandom::u64().expect("random numbers"),
        };
        println!("{name}: POSTRIDER_TEST_SEED={seed}");
        Self::seeded(seed)
    }

    /// The stream of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            origin: seed,
            state: seed,
        }
    }

    /// How to bring it back.
    pub fn origin(&self) -> String {
        format!("POSTRIDER_TEST_SEED={}", self.origin)
    }

    /// A stream for a part of the test.
    pub fn fork(&mut self) -> Self {
        Self::seeded(self.next())
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of several, if there are any.
    pub fn one_of<'a, T>(&mut self, several: &'a [T]) -> Option<&'a T> {
        let count = std::num::NonZeroU64::new(several.len() as u64)?;
        several.get(usize::try_from(self.below(count.get())).ok()?)
    }

    /// True once in `many`.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}
