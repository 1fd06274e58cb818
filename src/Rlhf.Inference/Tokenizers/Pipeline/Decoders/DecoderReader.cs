using Rlhf.Tokenizers.Pipeline.Patterns;
using Rlhf.Tokenizers.Pipeline.PreTokenizers;

namespace Rlhf.Tokenizers.Pipeline.Decoders;

/// <summary>The decoders of tokenizer.json.</summary>
internal static class DecoderReader
{
    private const int MostStripped = 1 << 16;

    public static TokenDecoder Read(JsonPlace json)
    {
        var type = json.Required("type");
        return type.Text() switch
        {
            "Sequence" => new SequenceDecoder([.. json.Required("decoders").Items().Select(Read)]),
            "ByteLevel" => new ByteLevelDecoder(),
            "ByteFallback" => new ByteFallbackDecoder(),
            "Fuse" => new FuseDecoder(),
            "Replace" => new ReplaceDecoder(PatternReader.Read(json.Required("pattern")), json.Required("content").Text()),
            "Strip" => Strip(json),
            "Metaspace" => Metaspace(json),
            "WordPiece" => new WordPieceDecoder(json.Text("prefix") ?? "##", json.Flag("cleanup", true)),
            "BPEDecoder" => Suffix(json.Text("suffix") ?? "</w>"),
            var other => throw type.Wrong($"is '{other}'; known are Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, "
                + "WordPiece and BPEDecoder"),
        };
    }

    private static StripDecoder Strip(JsonPlace json)
    {
        var content = json.Required("content");
        if (content.Text().EnumerateRunes().Count() != 1)
            throw content.Wrong("must be one character");
        int start = json.Required("start").Id(), stop = json.Required("stop").Id();
        return start <= MostStripped && stop <= MostStripped ? new(content.Text(), start, stop)
            : throw json.Wrong($"strips more than {MostStripped:N0} characters");
    }

    private static MetaspaceDecoder Metaspace(JsonPlace json)
    {
        var (mark, scheme) = PreTokenizerReader.Marks(json);
        return new(mark, stripsFirst: scheme != PrependScheme.Never);
    }

    private static EachDecoder Suffix(string suffix) => suffix.Length == 0 ? new((token, _, _) => token)
        : new((token, at, count) => token.Replace(suffix, at == count - 1 ? "" : " ", StringComparison.Ordinal));
}
