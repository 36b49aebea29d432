//! Labels of more than one class: boxes and masks.
#![allow(clippy::unwrap_used)]

use sepconv_data::{
    Annotations, Dataset, InputSpec, Labels, Object, Preprocess, Request, write_npz,
};
use sepconv_ir::{DType, Tensor};
fn request(resize: Option<&str>) -> Request {
    let dims = vec![None, Some(3), Some(4), Some(8)];
    Request {
        preprocess: Preprocess {
            resize: resize.map(|text| text.parse().unwrap()),
            ..Preprocess::default()
        },
        labels: Labels::Required,
        ..Request::new(vec![InputSpec::new("x", DType::F32, dims)])
    }
}

fn pictures(height: usize, width: usize) -> Tensor {
    Tensor::from_slice(&[2, 3, height, width], &vec![7u8; 6 * height * width]).unwrap()
}

#[test]
fn masks_beside_pictures_take_the_way_of_the_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let labels: Vec<u8> = (0..16u8).flat_map(|i| [i, i]).collect();
    for shape in [&[2, 2, 8][..], &[2, 1, 2, 8], &[2, 2, 8, 1]] {
        let labels = Tensor::from_slice(shape, &labels).unwrap();
        write_npz(&path, &[("images", &pictures(2, 8)), ("labels", &labels)]).unwrap();
        let data = Dataset::open(&path, &request(Some("8x4"))).unwrap();
        let Some(Annotations::Masks(seen)) = data.batch(1..2).unwrap().annotations else {
            panic!("no masks");
        };
        assert_eq!((seen[0].height, seen[0].width), (4, 8));
        let rows: Vec<i64> = seen[0].labels.iter().step_by(8).copied().collect();
        assert_eq!(rows, [8, 8, 12, 12]);
        assert!(data.labels().is_none() && data.has_annotations());
    }
    let odd = Tensor::from_slice(&[2, 8, 2], &labels).unwrap();
    write_npz(&path, &[("images", &pictures(2, 8)), ("labels", &odd)]).unwrap();
    let error = Dataset::open(&path, &request(Some("8x4"))).unwrap_err();
    assert!(
        error.to_string().contains("[2, 2, 8], one per pixel"),
        "{error}"
    );
}

#[test]
fn boxes_are_for_the_images_in_their_order_or_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (path, coco) = (dir.path().join("a.npz"), dir.path().join("coco.json"));
    let text = r#"{"images": [{"id": 5, "file_name": "b.png"}, {"id": 2, "file_name": "val/a.png"}],
        "annotations": [{"image_id": 2, "category_id": 3, "bbox": [2, 1, 4, 1]}],
        "categories": [{"id": 3, "name": "x"}]}"#;
    std::fs::write(&coco, text).unwrap();
    let request = Request {
        annotations: Some(coco.clone()),
        ..request(Some("8x4"))
    };
    let objects = |data: &Dataset| match data.batch(0..2).unwrap().annotations {
        Some(Annotations::Objects(all)) => all,
        other => panic!("{other:?}"),
    };
    write_npz(&path, &[("images", &pictures(2, 16))]).unwrap();
    let data = Dataset::open(&path, &request).unwrap();
    let only = Object {
        corners: [1.0, 2.0, 3.0, 4.0],
        category: 0,
        crowd: false,
    };
    assert_eq!(objects(&data), [vec![], vec![only]]);
    assert_eq!(data.categories()[0].id, 3);
    // In a folder the name of the file counts, and not its place.
    let folder = dir.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a.png", "b.png"] {
        image::RgbImage::new(16, 2).save(folder.join(name)).unwrap();
    }
    let data = Dataset::open(&folder, &request).unwrap();
    assert_eq!(objects(&data), [vec![only], vec![]]);
    image::RgbImage::new(16, 2)
        .save(folder.join("c.png"))
        .unwrap();
    let error = Dataset::open(&folder, &request).unwrap_err().to_string();
    assert!(
        error.contains("coco.json: images: expected one with the file_name 'c.png'"),
        "{error}"
    );
    let unasked = Request {
        labels: Labels::Ignore,
        ..request
    };
    assert!(!Dataset::open(&folder, &unasked).unwrap().has_annotations());
}

#[test]
fn masks_are_for_pictures_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (pictures, masks) = (dir.path().join("pictures"), dir.path().join("masks"));
    for folder in [&pictures, &masks] {
        std::fs::create_dir_all(folder.join("deep")).unwrap();
    }
    for (name, value) in [("a", 1), ("deep/a", 2)] {
        let file = pictures.join(format!("{name}.bmp"));
        image::RgbImage::new(8, 4).save(file).unwrap();
        let grey = image::GrayImage::from_pixel(8, 4, image::Luma([value]));
        grey.save(masks.join(format!("{name}.png"))).unwrap();
    }
    let request = Request {
        annotations: Some(masks.clone()),
        ..request(None)
    };
    let data = Dataset::open(&pictures, &request).unwrap();
    let Some(Annotations::Masks(seen)) = data.batch(0..2).unwrap().annotations else {
        panic!("no masks");
    };
    let values: Vec<i64> = seen.iter().map(|mask| mask.labels[9]).collect();
    assert_eq!(values, [1, 2]);
    image::GrayImage::new(4, 8)
        .save(masks.join("a.png"))
        .unwrap();
    let error = Dataset::open(&pictures, &request).unwrap_err().to_string();
    assert!(
        error.contains("expected 8x4, as the picture, found 4x8"),
        "{error}"
    );
    std::fs::remove_file(masks.join("a.png")).unwrap();
    std::fs::remove_file(masks.join("deep/a.png")).unwrap();
    let error = Dataset::open(&pictures, &request).unwrap_err().to_string();
    assert!(
        error.contains("one file named like picture 'a.bmp'"),
        "{error}"
    );
}
