using System.Text;
using CsCheck;

namespace Rlhf.Tests.Tokenizers;

/// <summary>Random Unicode text: plain English, odd spaces, accents, scripts, and any code point at all.</summary>
internal static class RandomText
{
    private static readonly string[] Odd =
        [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u0085", "\u2009", "\u3000", "'s", "'ll", " 't", "…", "\0"];

    private static readonly Gen<string> Piece = Gen.Frequency(
        (6, Gen.Char[' ', '~'].Array[0, 8].Select(c => new string(c))),
        (2, Gen.Int[0, Odd.Length - 1].Select(i => Odd[i])),
        (2, Gen.Char['\u00a1', '\u052f'].Select(c => c.ToString())),
        (2, Gen.Int[0, 0x10FFFF].Where(Rune.IsValid).Select(c => new Rune(c).ToString())));

    /// <summary>Without lone surrogates.</summary>
    public static Gen<string> Valid { get; } = Piece.Array[0, 12].Select(string.Concat);
}
