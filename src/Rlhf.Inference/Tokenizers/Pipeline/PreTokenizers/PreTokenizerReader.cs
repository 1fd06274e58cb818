using System.Text;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers.Pipeline.PreTokenizers;

/// <summary>The pre-tokenizers of tokenizer.json, sequences taken apart.</summary>
internal static class PreTokenizerReader
{
    public static IEnumerable<PreTokenizer> Read(JsonPlace json)
    {
        var type = json.Required("type");
        return type.Text() switch
        {
            "Sequence" => json.Required("pretokenizers").Items().SelectMany(Read),
            "ByteLevel" => [new ByteLevelPreTokenizer(json.Flag("add_prefix_space", true), json.Flag("use_regex", true))],
            "Split" => [new SplitPreTokenizer(
                PatternReader.Read(json.Required("pattern")), Behavior(json.Required("behavior")), json.Flag("invert"))],
            "Digits" => [new SplitPreTokenizer(new RuneMatcher(Rune.IsNumber),
                json.Flag("individual_digits") ? SplitBehavior.Isolated : SplitBehavior.Contiguous, invert: false) { IsOfDigits = true }],
            "Punctuation" => [Split(BertCharacters.IsPunctuation,
                json["behavior"] is { } behavior ? Behavior(behavior) : SplitBehavior.Isolated)],
            "Whitespace" => [Split(Rune.IsWhiteSpace, SplitBehavior.Removed), new SplitPreTokenizer(
                new RuneMatcher(AddedTokenMatcher.IsWord), SplitBehavior.Contiguous, invert: false)],
            "WhitespaceSplit" => [Split(Rune.IsWhiteSpace, SplitBehavior.Removed)],
            "BertPreTokenizer" =>
                [Split(Rune.IsWhiteSpace, SplitBehavior.Removed), Split(BertCharacters.IsPunctuation, SplitBehavior.Isolated)],
            "CharDelimiterSplit" => [new SplitPreTokenizer(
                new LiteralMatcher(Single(json.Required("delimiter"))), SplitBehavior.Removed, invert: false)],
            "Metaspace" => [Metaspace(json)],
            var other => throw type.Wrong($"is '{other}'; known are Sequence, ByteLevel, Split, Digits, Punctuation, Whitespace, "
                + "WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit and Metaspace"),
        };
    }

    /// <summary>The mark of a Metaspace, and whether and where one is put before text.</summary>
    public static (char Mark, PrependScheme Scheme) Marks(JsonPlace json)
    {
        var replacement = Single(json.Required("replacement"));
        if (replacement.Length != 1)
            throw json.Required("replacement").Wrong("must be a character up to U+FFFF");
        // Older files have add_prefix_space instead of prepend_scheme.
        var scheme = json.Text("prepend_scheme") switch
        {
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            null => json.Flag("add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never,
            _ => throw json.Required("prepend_scheme").Wrong("must be \"always\", \"first\" or \"never\""),
        };
        return (replacement[0], scheme);
    }

    private static MetaspacePreTokenizer Metaspace(JsonPlace json)
    {
        var (mark, scheme) = Marks(json);
        return new(mark, scheme, json.Flag("split", true));
    }

    private static SplitPreTokenizer Split(Func<Rune, bool> isMatch, SplitBehavior behavior) =>
        new(new RuneMatcher(isMatch), behavior, invert: false);

    private static SplitBehavior Behavior(JsonPlace json) =>
        Enum.TryParse<SplitBehavior>(json.Text(), out var behavior) && Enum.IsDefined(behavior) && !char.IsDigit(json.Text()[0]) ? behavior
            : throw json.Wrong($"must be one of {string.Join(", ", Enum.GetNames<SplitBehavior>())}");

    /// <summary>A single character.</summary>
    private static string Single(JsonPlace json) =>
        json.Text().EnumerateRunes().Count() == 1 ? json.Text() : throw json.Wrong("must be one character");
}
