//! One face for three encoders.

use std::io::{self, Write as _};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::Coding;

/// Levels. What each takes of a processor for a page of 60 kB and a script of 300 kB, written in parts of 16 KiB, and how many times smaller they become:
///
/// | coding | page | script | memory |
/// |---|---|---|---|
/// | zstd 3 | 0.33 ms, 3.4 | 1.4 ms, 3.4 | 1.4 MiB |
/// | gzip 5 | 0.77 ms, 3.6 | 4.1 ms, 3.6 | 0.4 MiB |
/// | brotli 4 | 1.6 ms, 3.6 | 5.8 ms, 3.5 | 2.9 MiB |
///
/// Hence the order among equal weights: in the same time zstd takes off two to three times as many octets as gzip, and gzip half as many again as brotli, whose lead
/// begins at its level 5 (5 % fewer octets than gzip, for two and a half times the work and 4 MiB). The next level of zstd costs a third more for nothing; gzip 6
/// costs half as much again for half a percent.
const ZSTD: i32 = 3;
const GZIP: u32 = 5;
const BROTLI: u32 = 4;
/// What zstd and brotli may refer back to, as a power of two: most pages as a whole. Browsers keep as much for each answer (RFC 9659 lets them refuse more than
/// 8 MiB), and we several times as much.
const WINDOW: u32 = 18;
/// Octets that the brotli library hands over at once.
const PIECE: usize = 4096;

/// An encoder with what it has done.
pub(crate) struct Encoder {
    kind: Kind,
    /// Something was written that may still be inside.
    pending: bool,
}

enum Kind {
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// An encoder; `None` where there is no memory for it.
    pub(crate) fn new(coding: Coding) -> Option<Self> {
        let kind = match coding {
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD).ok()?;
                encoder.window_log(WINDOW).ok()?;
                Kind::Zstd(Box::new(encoder))
            }
            Coding::Brotli => Kind::Brotli(Box::new(CompressorWriter::new(Vec::new(), PIECE, BROTLI, WINDOW))),
            Coding::Gzip => Kind::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(GZIP)))),
        };
        Some(Self { kind, pending: false })
    }

    /// Compresses; what is done may show later.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.pending = true;
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.write_all(data),
            Kind::Brotli(encoder) => encoder.write_all(data),
            Kind::Gzip(encoder) => encoder.write_all(data),
        }
    }

    /// Everything written so far can be read from what is done.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.pending) {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
            Kind::Gzip(encoder) => encoder.flush(),
        }
    }

    /// What is done and was not taken yet.
    pub(crate) fn done(&mut self) -> &mut Vec<u8> {
        match &mut self.kind {
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// What is left of it.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.kind {
            Kind::Zstd(encoder) => encoder.finish(),
            Kind::Brotli(encoder) => Ok(encoder.into_inner()),
            Kind::Gzip(encoder) => encoder.finish(),
        }
    }
}
