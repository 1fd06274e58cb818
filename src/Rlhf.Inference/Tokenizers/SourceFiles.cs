using Rlhf.Runtime.Files;

namespace Rlhf.Tokenizers;

/// <summary>
/// The tokenizer's files of a model folder as they were, so that saving loses nothing: neither what this library does not use, such as chat
/// templates, nor the order and form of what it does.
/// </summary>
internal sealed class SourceFiles
{
    private const string Templates = "additional_chat_templates";

    private static readonly string[] Names =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
        "chat_template.jinja", "chat_template.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    ];

    private readonly Dictionary<string, byte[]> files = new(StringComparer.Ordinal);

    /// <summary>Reads what a folder has of them.</summary>
    public static SourceFiles Read(string folder)
    {
        var source = new SourceFiles();
        var templates = Path.Combine(folder, Templates);
        var found = Directory.Exists(templates)
            ? Directory.EnumerateFiles(templates, "*.jinja").Order(StringComparer.Ordinal).Select(f => Path.Combine(Templates, Path.GetFileName(f)))
            : [];
        foreach (var name in Names.Concat(found))
            if (Path.Combine(folder, name) is var path && File.Exists(path))
                source.files[name] = BoundedFile.Read(path, JsonPlace.SizeLimit, "a tokenizer file");
        return source;
    }

    /// <summary>The folder has this file.</summary>
    public bool Has(string name) => files.ContainsKey(name);

    /// <summary>Content of a file; null where the folder has it not.</summary>
    public byte[]? Find(string name) => files.GetValueOrDefault(name);

    /// <summary>Adds a file, or replaces it.</summary>
    public void Put(string name, byte[] content) => files[name] = content;

    /// <summary>Writes all of them, each whole or not at all.</summary>
    public void Write(string folder)
    {
        foreach (var (name, content) in files)
        {
            var path = Path.Combine(folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            AtomicFile.Write(path, stream => stream.Write(content));
        }
    }
}
