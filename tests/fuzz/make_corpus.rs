//! Writes the corpus: `cargo run --bin make_corpus -- FOLDER`.

#[path = "corpus.rs"]
mod corpus;

fn main() -> std::io::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "corpus/model".into());
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in corpus::corpus() {
        std::fs::write(format!("{folder}/{name}.onnx"), bytes)?;
    }
    Ok(())
}
