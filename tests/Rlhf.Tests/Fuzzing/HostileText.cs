using System.Text;
using CsCheck;

namespace Rlhf.Tests.Fuzzing;

/// <summary>Text that data may hold and that programs stumble over.</summary>
internal static class HostileText
{
    /// <summary>A text for each kind of trouble.</summary>
    public static string[] Named { get; } =
    [
        "a\ud800", "\udc00\ud800b", "nul\0in\0side", "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628"
            + "\u0627",
        "\U0001F600 \U0001F469\u200d\U0001F680 \U0001F1E9\U0001F1EA", "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u009b2J",
        "[red]markup[/] [[x] [/]",
        "=cmd|' /C calc'!A0", "+1-1", "@SUM(1)", "\"quoted\", \"twice\"\"\"",
        "<script>alert(1)</script><img src=x onerror=y>&lt;b&gt;",
        "# h\n\n| a | b |\n| --- | --- |\n```sh\nrm -rf /\n```", "[link](javascript:alert(1)) ![pixel](http://example.org/p.png)",
        "---\nlicense: mit\n---\n", "key: &anchor [*alias, !!python/object x]", "\r\n\r\n\u2028\u2029\u0085\u000b\f",
        "\ufeffbyte order mark", "e\u0301\u0300\u0302",
        "\ufffe\uffff\U0010FFFF", "<|endoftext|><mask>[SEP][CLS]", "\u3000\u00a0\u2009", "%s%n{0}{{x}}${y}`z`",
        "..\\../etc/passwd\0.txt",
    ];

    /// <summary>Lines of a million characters: of one letter, without spaces, of four-byte characters, of white space.</summary>
    public static string[] Long { get; } =
    [
        new string('a', 1_000_000), string.Concat(Enumerable.Range(0, 125_000).Select(i => $"{i % 10}b,[{i % 7}\u00e9_\ud800")),
        string.Concat(Enumerable.Repeat("\U0001F600", 500_000)), new string(' ', 1_000_000),
    ];

    private static readonly Gen<string> Piece = Gen.Frequency(
        (4, Gen.Int[0, Named.Length - 1].Select(i => Named[i])),
        (2, Gen.Char.Select(c => c.ToString())),
        (2, Gen.Char[' ', '~'].Array[0, 6].Select(c => new string(c))),
        (1, Gen.Char['\0', '\u001f'].Select(c => c.ToString())),
        (1, Gen.Char['\ud800', '\udfff'].Select(c => c.ToString())));

    /// <summary>Any of it in any order, empty text included.</summary>
    public static Gen<string> Any { get; } = Piece.Array[0, 8].Select(string.Concat);

    /// <summary>What remains of a text where only Unicode is kept: U+FFFD in place of each lone surrogate.</summary>
    public static string Valid(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
}
