using System.Runtime.InteropServices;
using System.Text;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Tokenizers;
using Spectre.Console;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Rlhf.Fuzz;

/// <summary>Text from data: through tokenizers, onto the terminal, into model cards. None of it may be refused.</summary>
internal static class TextTargets
{
    private const int Longest = 512;

    private static readonly Type[] None = [];
    private static readonly StringWriter Written = new();
    private static readonly Lazy<IAnsiConsole> Console = new(() => AnsiConsole.Create(new()
    {
        Out = new AnsiConsoleOutput(Written),
        Ansi = AnsiSupport.Yes,
        ColorSystem = ColorSystemSupport.NoColors,
    }));

    public static IEnumerable<FuzzTarget> Make()
    {
        var seeds = Texts("Hello, world", "a\ud800b\udc00", "\0\u001b[31m[red]x[/]\u009b2J", "\u202e\u05d0\u05d1 \ud83d\ude00",
            "=1+1,\"x\"\n| a |\n---\n# b",
            "", "<script>`x`</script>\\", "key: value\n- [a]\n...\n");
        var tokens = Texts("[", "]", "[/]", "[[", "[red]", "\u001b[0m", "\u009b", "\ud800", "\udfff", "\0", "\u202e", "\u200f",
            "<", "`", "```", "|", "\\", "\n",
            "\r", "\u2028", "\u0085", "---", ": ", "'", "\"", "<|endoftext|>", "\u0130", "\ufffd", "\u3000");
        var byteLevel = ByteLevelTokenizer();
        yield return new("text-byte-level", input => ByteLevelRoundTrip(byteLevel, Text(input)), seeds, tokens, None)
        { MaxLength = Longest };
        var wordPiece = WordPiece();
        yield return new("text-word-piece", input =>
        {
            var ids = wordPiece.Encode(Text(input));
            WrongResultException.Unless(ids.All(id => id >= 0 && id < wordPiece.VocabSize), "an id outside the vocabulary");
            _ = wordPiece.Decode(ids);
        }, seeds, tokens, None)
        { MaxLength = Longest };
        yield return new("text-terminal", input => Terminal(Text(input)), seeds, tokens, None) { MaxLength = Longest };
        yield return new("text-model-card", input => Card(Text(input)), seeds, tokens, None) { MaxLength = Longest };
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(t => MemoryMarshal.AsBytes(t.AsSpan()).ToArray())];

    /// <summary>Any UTF-16, lone surrogates included.</summary>
    private static string Text(byte[] input) => new(MemoryMarshal.Cast<byte, char>(input));

    private static ByteLevelBpeTokenizer ByteLevelTokenizer()
    {
        var vocabulary = Enumerable.Range(0, 256).ToDictionary(b => ByteLevel.Symbol((byte)b).ToString(), b => b);
        (string, string)[] merges = [("l", "l"), ("ll", "o"), ("\u0120", "w"), ("\u00ed", "\u0142")];
        foreach (var (left, right) in merges)
            vocabulary[left + right] = vocabulary.Count;
        return new(vocabulary, merges, new() { AddedTokens = [new("<|endoftext|>", vocabulary.Count)] });
    }

    private static WordPieceTokenizer WordPiece()
    {
        string[] pieces = ["[UNK]", "[CLS]", "[SEP]", "hello", "world", "##a", "a", "x", ",", "[", "]", "\ufffd"];
        var vocabulary = pieces.Select((p, i) => (p, i)).ToDictionary(x => x.p, x => x.i);
        return new(vocabulary, new()
        {
            AddedTokens = [new("[CLS]", 1), new("<|endoftext|>", pieces.Length, Normalized: true)],
            Template = SequenceTemplate.Bert(1, 2),
        });
    }

    /// <summary>Nothing is lost but lone surrogates, which come back as U+FFFD.</summary>
    private static void ByteLevelRoundTrip(ByteLevelBpeTokenizer tokenizer, string text)
    {
        var ids = tokenizer.Encode(text);
        var expected = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        WrongResultException.Unless(tokenizer.Decode(ids) == expected, "decoding gave another text");
    }

    /// <summary>Safe text is one line without control characters or markup, and a console shows it as it is.</summary>
    private static void Terminal(string text)
    {
        var safe = Screen.Safe(text);
        var shown = Markup.Remove(safe);
        // Spectre makes white space alone an empty text.
        WrongResultException.Unless(shown == Screen.Clean(text) || string.IsNullOrWhiteSpace(shown), "markup took effect");
        WrongResultException.Unless(!shown.Any(char.IsControl) && shown.AsSpan().IndexOfAnyInRange('\u202a', '\u202e') < 0,
            "control characters reach the terminal");
        Written.GetStringBuilder().Clear();
        Console.Value.Write(new Markup(safe));
        WrongResultException.Unless(!Written.ToString().Any(c => char.IsControl(c) && c is not ('\n' or '\r')),
            "a table holds control sequences");
    }

    /// <summary>Front matter holds the text as one string, and no cell, heading or tag is opened by it.</summary>
    private static void Card(string text)
    {
        var card = new ModelCard(text, text)
        {
            License = text,
            BaseModel = text,
            Tags = [text],
            Command = text,
            Results = [new(text, text)],
            Tables = [new(text, [text], [[text]])],
        }.ToMarkdown();
        var lines = card.Split('\n');
        int end = Array.IndexOf(lines, "---", 1);
        var scalars = Scalars(string.Join('\n', lines[1..end]));
        var valid = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
        string[] expected = ["library_name", "transformers", "license", valid, "base_model", valid, "tags", valid];
        WrongResultException.Unless(scalars.SequenceEqual(expected), "the front matter says something else");
        int fence = Array.FindLastIndex(
            lines, l => l.StartsWith("```", StringComparison.Ordinal) && l.EndsWith("sh", StringComparison.Ordinal));
        var body = lines[(end + 1)..(fence < 0 ? ^0 : fence)];
        WrongResultException.Unless(body.Count(l => l.StartsWith('#')) == 4, "a heading was opened");
        WrongResultException.Unless(!body.Any(l => l.Contains('<')), "a tag was opened");
        WrongResultException.Unless(!body.Any(l => l.Any(c => char.IsControl(c) && c != '\t')),
            "control characters are in the card");
    }

    private static List<string> Scalars(string yaml)
    {
        var parser = new Parser(new StringReader(yaml));
        var scalars = new List<string>();
        while (parser.MoveNext())
            if (parser.Current is Scalar scalar)
                scalars.Add(scalar.Value);
        return scalars;
    }
}
