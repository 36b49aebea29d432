//! Decoding one picture file.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::DataError;
use crate::planes::Planes;
use crate::size::MAX_SIDE;

/// The largest picture file that is read, bytes.
const MAX_FILE: u64 = 1 << 28;

/// Brightness of the background that transparent pictures are laid over, of 255.
const BACKGROUND: u16 = 255;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits
}

fn malformed(path: &Path, found: impl std::fmt::Display) -> DataError {
    let formats = "a JPEG, PNG, BMP, GIF, WebP, TIFF or PNM picture";
    DataError::malformed(path, formats, found)
}

/// The size (height, width) of the upright picture, from the header alone.
pub(crate) fn size(path: &Path) -> Result<(usize, usize), DataError> {
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    let mut decoder = decoder(path, guessed(path, BufReader::new(file))?)?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    Ok(match orientation(&mut decoder) {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (width, height),
        _ => (height, width),
    })
}

fn guessed<R: BufRead + Seek>(path: &Path, from: R) -> Result<ImageReader<R>, DataError> {
    let reader = ImageReader::new(from)
        .with_guessed_format()
        .map_err(DataError::io(path, "read"))?;
    match reader.format() {
        Some(
            ImageFormat::Bmp
            | ImageFormat::Gif
            | ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Pnm
            | ImageFormat::Tiff
            | ImageFormat::WebP,
        ) => Ok(reader),
        Some(other) => Err(malformed(path, other.to_mime_type())),
        None => Err(malformed(path, "other content")),
    }
}

fn decoder<'a, R: BufRead + Seek + 'a>(
    path: &Path,
    mut reader: ImageReader<R>,
) -> Result<impl ImageDecoder + 'a, DataError> {
    reader.limits(limits());
    reader.into_decoder().map_err(|e| malformed(path, e))
}

/// Orientation by EXIF or TIFF; a picture that says nothing legible is taken as it is.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Decodes a file to planes of 0 to 255: red, green, blue, or luma when `channels` is 1. With them
/// goes a flag, true where all values are whole numbers: not where the file has more than 8 bits.
///
/// The picture is upright as EXIF says. Transparency is laid over white. Luma is ITU-R 601; of 8
/// bits in the integer arithmetic that Pillow uses.
pub(crate) fn decode(path: &Path, channels: usize) -> Result<(Planes, bool), DataError> {
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(DataError::io(path, "open"))?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(DataError::io(path, "read"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(malformed(path, format!("more than {MAX_FILE} bytes")));
    }
    let reader = guessed(path, Cursor::new(&bytes))?;
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_ends(&bytes) {
        return Err(malformed(path, "a truncated JPEG"));
    }
    let mut decoder = decoder(path, reader)?;
    let upright = orientation(&mut decoder);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| malformed(path, e))?;
    picture.apply_orientation(upright);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let colour = picture.color();
    let whole = colour.bytes_per_pixel() == colour.channel_count();
    let data = match (whole, colour.has_alpha()) {
        (true, false) => planes(picture.into_rgb8().as_raw(), channels),
        (true, true) => planes(&flattened(picture.into_rgba8().as_raw()), channels),
        (false, _) => deep_planes(&fractions(picture), channels),
    };
    let planes = Planes {
        channels: if channels == 1 { 1 } else { 3 },
        height,
        width,
        data,
    };
    Ok((planes, whole))
}

/// The planes of RGB pixels of 8 bits.
fn planes(rgb: &[u8], channels: usize) -> Vec<f32> {
    let pixels = rgb.chunks_exact(3);
    if channels == 1 {
        return pixels.map(luma).collect();
    }
    (0..3)
        .flat_map(|c| pixels.clone().map(move |p| f32::from(p[c])))
        .collect()
}

fn luma(pixel: &[u8]) -> f32 {
    let [r, g, b] = [0, 1, 2].map(|c| u32::from(pixel[c]));
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as f32
}

/// RGBA pixels laid over the background, as RGB.
fn flattened(rgba: &[u8]) -> Vec<u8> {
    let over = |pixel: &[u8]| {
        let alpha = u16::from(pixel[3]);
        let sum = |c: usize| u16::from(pixel[c]) * alpha + BACKGROUND * (255 - alpha);
        [0, 1, 2].map(|c| ((sum(c) + 127) / 255) as u8)
    };
    rgba.chunks_exact(4).flat_map(over).collect()
}

/// RGBA pixels of more than 8 bits, as 0 to 255; values out of the range are clamped.
fn fractions(picture: DynamicImage) -> Vec<f32> {
    match picture {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            let values = picture.into_rgba32f().into_raw().into_iter();
            // NaN is black.
            let values = values.map(|v| if v.is_nan() { 0.0 } else { v });
            values.map(|v| v.clamp(0.0, 1.0) * 255.0).collect()
        }
        _ => {
            let values = picture.into_rgba16().into_raw().into_iter();
            values.map(|v| f32::from(v) / 257.0).collect()
        }
    }
}

/// The planes of RGBA pixels of 0 to 255, laid over the background.
fn deep_planes(rgba: &[f32], channels: usize) -> Vec<f32> {
    let background = f32::from(BACKGROUND);
    let over = |pixel: &[f32], c: usize| match pixel[3] / 255.0 {
        1.0 => pixel[c],
        alpha => pixel[c] * alpha + background * (1.0 - alpha),
    };
    let pixels = rgba.chunks_exact(4);
    if channels == 1 {
        let grey = |p: &[f32]| match [over(p, 0), over(p, 1), over(p, 2)] {
            [r, g, b] if r == g && g == b => r,
            [r, g, b] => 0.299 * r + 0.587 * g + 0.114 * b,
        };
        return pixels.map(grey).collect();
    }
    (0..3)
        .flat_map(|c| pixels.clone().map(move |p| over(p, c)))
        .collect()
}

/// True where the segments of a JPEG end with its end marker, whatever follows (ITU-T T.81, annex B).
///
/// The decoder fills the missing part of a cut file with grey and says nothing.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    while let Some(next) = bytes.get(at..).and_then(marker) {
        let code = bytes[at + next];
        at += next + 1;
        if code == END {
            return true;
        }
        // Restart markers and those of no length stand alone.
        if matches!(code, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let Some([high, low]) = bytes.get(at..at + 2) else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // The data of a scan end before the next marker.
        at += length.max(2);
    }
    false
}

/// Position of the code of the first marker: behind a 0xFF, which data of a scan follow by 0, and others fill with.
fn marker(bytes: &[u8]) -> Option<usize> {
    let pairs = bytes.windows(2);
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
    Some(pairs.into_iter().position(is_marker)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// Writes a small colourful picture; the extension chooses the format.
    fn save(path: &Path, width: u32, height: u32, tint: u8) {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([tint, (x * 5 % 256) as u8, (y * 7 % 256) as u8])
        })
        .save(path)
        .unwrap();
    }

    #[test]
    fn png_is_exact_and_jpeg_is_near() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("a.png");
        let jpeg = dir.path().join("a.jpg");
        save(&png, 20, 10, 200);
        save(&jpeg, 20, 10, 200);
        assert_eq!(size(&png).unwrap(), (10, 20));
        let a = decode(&png, 3).unwrap().0;
        assert_eq!((a.channels, a.height, a.width), (3, 10, 20));
        assert_eq!(
            (a.data[0], a.data[201], a.data[400 + 20]),
            (200.0, 5.0, 7.0)
        );
        let b = decode(&jpeg, 3).unwrap().0;
        let worst = a.data.iter().zip(&b.data).map(|(x, y)| (x - y).abs());
        assert!(worst.fold(0.0, f32::max) < 64.0);
        let grey = decode(&png, 1).unwrap().0;
        assert_eq!(grey.data[0], (0.299f32 * 200.0).round());
    }

    #[test]
    fn format_goes_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("a.png");
        save(&png, 4, 4, 1);
        let other = dir.path().join("b.dat");
        std::fs::rename(&png, &other).unwrap();
        assert!(decode(&other, 3).is_ok());
        std::fs::write(&png, "qoif............").unwrap();
        let error = decode(&png, 3).unwrap_err().to_string();
        assert!(error.ends_with("found image/x-qoi"), "{error}");
    }

    #[test]
    fn what_follows_a_jpeg_is_no_part_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let jpeg = dir.path().join("a.jpg");
        save(&jpeg, 64, 64, 200);
        let whole = std::fs::read(&jpeg).unwrap();
        let alone = decode(&jpeg, 3).unwrap().0.data;
        // A film behind a picture holds any bytes.
        let film = [0, 0xff, 0xda, 7, 0xff, 0xd9, 0xff, 0xda, 1];
        std::fs::write(&jpeg, [&whole[..], &film].concat()).unwrap();
        assert_eq!(decode(&jpeg, 3).unwrap().0.data, alone);
        std::fs::write(&jpeg, &whole[..whole.len() - 2]).unwrap();
        assert!(decode(&jpeg, 3).is_err());
    }

    #[test]
    fn cut_pictures_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg"] {
            let path = dir.path().join(name);
            save(&path, 64, 64, 90);
            let good = std::fs::read(&path).unwrap();
            for part in [1, 10, 50, 90, 99] {
                std::fs::write(&path, &good[..good.len() * part / 100]).unwrap();
                let error = decode(&path, 3).unwrap_err().to_string();
                assert!(error.contains(name) && !error.contains('\n'), "{error}");
            }
            for at in (0..good.len()).step_by(7) {
                let mut bytes = good.clone();
                bytes[at] ^= 0xff;
                std::fs::write(&path, &bytes).unwrap();
                let (_, _) = (size(&path), decode(&path, 3));
            }
        }
    }
}
