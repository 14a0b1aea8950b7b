//! The file of a picture: PNG with a palette. A chart has few colours, so a dot is one byte, long runs of which cost nearly
//! nothing to compress; a tenth of the time of PNG in full colour, and half its size.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use resvg::tiny_skia::Pixmap;
use std::io::{self, Write};

/// Most colours of a palette.
const COLOURS_MAX: usize = 256;
/// Bits of red, green and blue that are kept of the shades at edges, the first by which all colours fit in a palette.
const BITS: [u32; 4] = [5, 4, 3, 2];
/// Places for all colours of so many bits.
const PLACES: usize = 1 << 15;
/// Beyond it files become hardly smaller.
const LEVEL: u32 = 2;

/// Bytes of a dot of an opaque picture: red, green, blue and 255.
const DOT: usize = 4;

/// Red, green and blue in the lower bits.
type Colour = u32;

/// Colours by number.
struct Palette {
    colours: Vec<Colour>,
    bits: u32,
    /// One more than the number of each rounded colour, by its bits; 0 where it has none.
    places: Vec<u16>,
}

impl Palette {
    /// Its first colours are those that are kept as they are.
    fn new(exact: &[Colour], bits: u32) -> Palette {
        let mut colours = Vec::with_capacity(COLOURS_MAX);
        colours.extend(exact.iter().take(COLOURS_MAX));
        Palette { colours, bits, places: vec![0; PLACES] }
    }

    /// The number of a colour; `None` when there are too many.
    fn number(&mut self, colour: Colour, exact: &[Colour]) -> Option<u8> {
        if let Some(number) = exact.iter().position(|one| *one == colour) {
            return u8::try_from(number).ok();
        }
        let most = (1 << self.bits) - 1;
        let [_, red, green, blue] = colour.to_be_bytes();
        // The nearest of so many levels; black and white stay as they are.
        let [red, green, blue] = [red, green, blue].map(|part| (u32::from(part) * most + 127) / 255);
        let place = &mut self.places[((red << (2 * self.bits)) | (green << self.bits) | blue) as usize];
        if *place == 0 {
            let number = u8::try_from(self.colours.len()).ok()?;
            let [red, green, blue] = [red, green, blue].map(|level| level * 255 / most);
            self.colours.push((red << 16) | (green << 8) | blue);
            *place = u16::from(number) + 1;
        }
        u8::try_from(*place - 1).ok()
    }
}

/// The dots of an opaque picture as PNG. Those of the colours `exact` keep theirs, shades between them may come out as one that nobody tells
/// apart.
pub(super) fn png(picture: &Pixmap, exact: &[Colour]) -> io::Result<Vec<u8>> {
    let (width, height) = (picture.width(), picture.height());
    let numbered = BITS.iter().find_map(|bits| numbers(picture, exact, *bits));
    let (palette, numbers) = numbered.ok_or_else(|| io::Error::other("more colours than a palette holds"))?;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
    packed.write_all(&numbers)?;
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::with_capacity(13);
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    // Eight bits a dot, with a palette; the only ways of packing, filtering and ordering that go with it here.
    head.extend([8, 3, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &head);
    let palette = palette.colours.iter().flat_map(|colour| colour.to_be_bytes().into_iter().skip(1));
    chunk(&mut file, b"PLTE", &palette.collect::<Vec<u8>>());
    chunk(&mut file, b"IDAT", &packed.finish()?);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

/// The palette, and the number of each dot behind a 0 for each row, which is then not filtered.
fn numbers(picture: &Pixmap, exact: &[Colour], bits: u32) -> Option<(Palette, Vec<u8>)> {
    let mut palette = Palette::new(exact, bits);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut numbers: Vec<u8> = Vec::with_capacity((width + 1) * height);
    let (mut above, mut last, mut number): (&[u8], _, _) = (&[], [0; DOT], 0);
    for row in picture.data().chunks_exact(DOT * width) {
        // Through bars and blanks, one row is like the one above it.
        if row == above {
            numbers.extend_from_within(numbers.len() - width - 1..);
            continue;
        }
        let begin = numbers.len();
        numbers.resize(begin + width + 1, 0);
        for (dot, numbered) in row.as_chunks::<DOT>().0.iter().zip(&mut numbers[begin + 1..]) {
            // Neighbours mostly have one colour.
            if *dot != last {
                let [red, green, blue, _] = *dot;
                number = palette.number(u32::from_be_bytes([0, red, green, blue]), exact)?;
                last = *dot;
            }
            *numbered = number;
        }
        above = row;
    }
    Some((palette, numbers))
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(content);
    file.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend(kind);
    file.extend(content);
    file.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use resvg::tiny_skia::PremultipliedColorU8;

    /// A picture of these colours, one after the other.
    fn picture(width: u32, height: u32, colour: impl Fn(u32) -> Colour) -> Pixmap {
        let mut picture = Pixmap::new(width, height).expect("dots");
        for (at, dot) in (0..).zip(picture.pixels_mut()) {
            let [_, red, green, blue] = colour(at).to_be_bytes();
            *dot = PremultipliedColorU8::from_rgba(red, green, blue, 255).expect("opaque");
        }
        picture
    }

    #[test]
    fn colours_of_drawings_come_back_as_they_were() {
        let exact = [0xff_ff_ff, 0x1f_7a_6b, 0xc0_7a_1e, 0x1c_1b_19];
        for (width, height) in [(1, 1), (7, 3), (640, 333)] {
            let drawn = picture(width, height, |at| exact[(at / 5 % 4) as usize]);
            let read = Pixmap::decode_png(&png(&drawn, &exact).expect("a file")).expect("PNG");
            assert!(read == drawn, "{width} by {height}");
        }
    }

    #[test]
    fn of_many_the_exact_ones_stay_and_none_is_far_off() {
        let exact = 0x12_34_56;
        let drawn = picture(300, 300, |at| if at % 3 == 0 { exact } else { at.wrapping_mul(2_654_435_761) >> 8 });
        let read = Pixmap::decode_png(&png(&drawn, &[exact]).expect("a file")).expect("PNG");
        for (at, (was, is)) in drawn.pixels().iter().zip(read.pixels()).enumerate() {
            let off = [(was.red(), is.red()), (was.green(), is.green()), (was.blue(), is.blue())];
            let off = off.into_iter().map(|(one, other)| one.abs_diff(other)).max();
            assert!(off <= Some(if at % 3 == 0 { 0 } else { 255 / 6 + 1 }), "{at}: {was:?} {is:?}");
        }
    }
}
