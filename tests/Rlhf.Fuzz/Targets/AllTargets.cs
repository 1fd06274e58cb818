using System.Text;

namespace Rlhf.Fuzz;

/// <summary>Every reader of a stranger's file.</summary>
internal static class AllTargets
{
    public static IReadOnlyList<FuzzTarget> Make(Scratch scratch) =>
    [
        .. WeightTargets.Make(scratch), .. ModelTargets.Make(scratch), .. TokenizerTargets.Make(scratch), .. TableTargets.Make(scratch),
        .. ArchiveTargets.Make(),
        .. ChatTargets.Make(scratch), .. SettingsTargets.Make(), .. CheckpointTargets.Make(scratch), .. AnswerTargets.Make(), .. TextTargets.Make(),
    ];

    /// <summary>Pieces of JSON, and further ones.</summary>
    public static byte[][] Json(params string[] further) => Bytes(
    [
        "{", "}", "[", "]", ",", ":", "\"\"", "\"a\"", "null", "true", "false", "0", "-1", "1e400", "\"\\ud800\"", "\"\\u0000\"",
        "\"\\udc00\\ud800\"", "\\", "\"", "{\"a\":", "[[", "/**/", "\u2028", "\"\\u001b[31m\"", .. further,
    ]);

    /// <summary>Texts as the bytes of UTF-8.</summary>
    public static byte[][] Bytes(params string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];

    /// <summary>Texts as one byte for each character.</summary>
    public static byte[][] Latin1(params string[] texts) => [.. texts.Select(Encoding.Latin1.GetBytes)];
}
