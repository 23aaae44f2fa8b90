//! The arguments of one request, as places in its bytes.

/// Where one argument lies in its request's bytes.
///
/// 32 bits are enough: a request is limited to 1 GiB (Redis' own `client-query-buffer-limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// One request: its raw bytes (a whole RESP array of bulk strings) and where its arguments lie.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    frame: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Joins bytes and spans. Spans that point outside `frame` read as empty arguments.
    pub fn new(frame: &'a [u8], spans: &'a [Span]) -> Self {
        Args { frame, spans }
    }

    /// The request as it goes over the wire.
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// How many arguments there are, the command's name included (Redis' `argc`).
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all (the scanner never hands out such a request).
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index`, counted from the command's name at 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        let start = span.start as usize;
        self.frame.get(start..start + span.len as usize)
    }

    /// The command's name as the client wrote it, of any case.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.get(0).unwrap_or_default()
    }

    /// The wire bytes of `count` arguments from `index` on, each with its `$len` line, as the client
    /// wrote them. Empty when there are not so many.
    #[inline]
    pub fn raw(&self, index: usize, count: usize) -> &'a [u8] {
        let last = (index + count).wrapping_sub(1);
        let (Some(first), Some(last)) = (self.spans.get(index), self.spans.get(last)) else {
            return &[];
        };
        // A length line has no leading zeros (`resp::scan`), so its own length is known.
        let digits = first.len.checked_ilog10().unwrap_or(0) as usize + 1;
        let start = (first.start as usize).saturating_sub(digits + 3);
        self.frame
            .get(start..(last.start + last.len) as usize + 2)
            .unwrap_or_default()
    }

    /// The request that begins at this argument, of which only the arguments can be asked.
    pub fn behind(&self, index: usize) -> Args<'a> {
        Args {
            frame: self.frame,
            spans: self.spans.get(index..).unwrap_or_default(),
        }
    }

    /// All arguments in order, the name first.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}
