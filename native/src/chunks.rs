//! Stream bytes on their way out: copied once when JavaScript hands them over, then shared by the queue and by quiche, which keeps them until
//! they are acknowledged.

use quiche::{BufFactory, BufSplit};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

/// quiche with these buffers.
pub type Quic = quiche::Connection<Chunks>;

/// A DATA frame of HTTP/2 as backends send it (RFC 9113 s4.2), and what stands in front of it in HTTP/3.
pub const BLOCK: usize = 16 * 1024 + 256;
/// A part of a block that is smaller gets memory of its own size.
const WORTH_A_BLOCK: usize = 4 * 1024;
/// Blocks that a thread keeps for the next bytes: those that were used last are still in the processor's cache.
const SPARE: usize = 128;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

struct Block(Vec<u8>);

impl Block {
    fn of(bytes: &[u8]) -> Self {
        let spare = SPARES.try_with(|s| s.borrow_mut().pop()).ok().flatten();
        let mut memory = spare.unwrap_or_else(|| Vec::with_capacity(BLOCK));
        memory.extend_from_slice(bytes);
        Block(memory)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.0);
        memory.clear();
        // At a thread's end there is nobody to keep it for.
        let _ = SPARES.try_with(|s| {
            let mut spares = s.borrow_mut();
            if spares.len() < SPARE {
                spares.push(memory);
            }
        });
    }
}

/// Gives back what is kept for bytes to come.
pub fn trim() {
    let _ = SPARES.try_with(|s| s.take());
}

#[derive(Clone)]
enum Memory {
    Block(Rc<Block>),
    Own(Rc<[u8]>),
}

/// Bytes that do not change, however many hold them. A clone copies none.
#[derive(Clone)]
pub struct Chunk {
    memory: Memory,
    start: usize,
    end: usize,
}

impl Chunk {
    /// At most `BLOCK` bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let memory = match bytes.len() {
            WORTH_A_BLOCK..=BLOCK => Memory::Block(Rc::new(Block::of(bytes))),
            _ => Memory::Own(bytes.into()),
        };
        Chunk { memory, start: 0, end: bytes.len() }
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// A part of it, within its length.
    pub fn part(&self, r: Range<usize>) -> Self {
        let end = (self.start + r.end).min(self.end);
        Chunk { memory: self.memory.clone(), start: (self.start + r.start).min(end), end }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        let bytes = match &self.memory {
            Memory::Block(b) => &b.0[..],
            Memory::Own(b) => &b[..],
        };
        &bytes[self.start..self.end]
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl BufSplit for Chunk {
    fn split_at(&mut self, at: usize) -> Self {
        let rest = self.part(at..self.len());
        self.end = rest.start;
        rest
    }
}

/// How quiche makes buffers of what is given to it as slices: handshakes and what is short.
#[derive(Clone, Debug, Default)]
pub struct Chunks;

impl BufFactory for Chunks {
    type Buf = Chunk;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Chunk {
        Chunk::of(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare() -> usize {
        SPARES.with(|s| s.borrow().len())
    }

    #[test]
    fn parts_share_their_bytes() {
        for size in [0, 1, WORTH_A_BLOCK - 1, WORTH_A_BLOCK, BLOCK] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let whole = Chunk::of(&bytes);
            assert_eq!(whole.as_ref(), bytes);
            for at in [0, size / 3, size] {
                let mut front = whole.clone();
                let back = front.split_at(at);
                assert_eq!((front.as_ref(), back.as_ref()), bytes.split_at(at));
                assert_eq!(back.part(0..back.len()).as_ref().as_ptr(), whole.as_ref()[at..].as_ptr());
            }
            assert_eq!(whole.part(size..size + 9).as_ref(), [0; 0]);
        }
    }

    #[test]
    fn blocks_are_used_again_once_nobody_holds_them() {
        trim();
        let first = Chunk::of(&[1; BLOCK]);
        let place = first.as_ref().as_ptr();
        let part = first.part(7..9);
        drop(first);
        assert_eq!((spare(), part.as_ref()), (0, &[1; 2][..]));
        drop(part);
        assert_eq!(spare(), 1);
        let second = Chunk::of(&[2; WORTH_A_BLOCK]);
        assert_eq!((spare(), second.as_ref().as_ptr(), second.as_ref()), (0, place, &[2; WORTH_A_BLOCK][..]));
    }

    #[test]
    fn no_more_blocks_are_kept_than_are_worth_it() {
        trim();
        let many: Vec<Chunk> = (0..SPARE + 5).map(|_| Chunk::of(&[3; BLOCK])).collect();
        drop(many);
        assert_eq!(spare(), SPARE);
        trim();
        assert_eq!(spare(), 0);
    }
}
