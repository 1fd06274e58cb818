using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers.Pipeline.Normalizers;

/// <summary>The normalizers of tokenizer.json.</summary>
internal static class NormalizerReader
{
    public static Normalizer Read(JsonPlace json)
    {
        var type = json.Required("type");
        return type.Text() switch
        {
            "Sequence" => new SequenceNormalizer([.. json.Required("normalizers").Items().Select(Read)]),
            "NFC" => new TextNormalizer(UnicodeNormalizer.Nfc.Normalize),
            "NFD" => new TextNormalizer(UnicodeNormalizer.Nfd.Normalize),
            "NFKC" => new TextNormalizer(UnicodeNormalizer.Nfkc.Normalize),
            "NFKD" => new TextNormalizer(UnicodeNormalizer.Nfkd.Normalize),
            "Nmt" => new TextNormalizer(SimpleNormalizers.Nmt),
            "Lowercase" => new TextNormalizer(SimpleNormalizers.Lowercase),
            "StripAccents" => new TextNormalizer(SimpleNormalizers.StripAccents),
            "Strip" => Strip(json.Flag("strip_left", true), json.Flag("strip_right", true)),
            "Prepend" => new PrependNormalizer(json.Required("prepend").Text()),
            "Replace" => Replace(PatternReader.Read(json.Required("pattern")), json.Required("content").Text()),
            "ByteLevel" => new TextNormalizer(SimpleNormalizers.ByteLevel),
            "BertNormalizer" => Bert(ReadBert(json)),
            "Precompiled" => Precompiled(json.Required("precompiled_charsmap")),
            var other => throw type.Wrong($"is '{other}'; known are Sequence, NFC, NFD, NFKC, NFKD, Nmt, Lowercase, StripAccents, Strip, "
                + "Prepend, Replace, ByteLevel, BertNormalizer and Precompiled"),
        };
    }

    /// <summary>BERT's settings, as they stand in the file.</summary>
    public static BertNormalizer ReadBert(JsonPlace json) => new(json.Flag("clean_text", true), json.Flag("handle_chinese_chars", true),
        json["strip_accents"]?.Flag(), json.Flag("lowercase", true));

    private static TextNormalizer Strip(bool left, bool right) => new(text => SimpleNormalizers.Strip(text, left, right));

    private static TextNormalizer Replace(Matcher matcher, string by) => new(text => matcher.Replace(text, by));

    private static TextNormalizer Bert(BertNormalizer bert) => new(text => bert.Normalize(text));

    private static PrecompiledNormalizer Precompiled(JsonPlace rules)
    {
        try
        {
            return new PrecompiledNormalizer(Convert.FromBase64String(rules.Text()));
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            throw rules.Wrong(e is FormatException ? "is not base64" : e.Message);
        }
    }
}
