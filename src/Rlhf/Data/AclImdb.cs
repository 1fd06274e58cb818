using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;
using Rlhf.Data.Files;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Data;

/// <summary>
/// IMDB in its original layout, <c>aclImdb/{train,test}/{pos,neg,unsup}/ID_RATING.txt</c>, as a folder or as the archive it is
/// distributed in. The archive is streamed: nothing is written to disk, and links or paths that lead outside are never followed.
/// </summary>
internal static partial class AclImdb
{
    /// <summary>A class folder of a split, such as train/neg.</summary>
    private sealed record ClassFolder(string Split, string Name, int? Label);

    /// <summary>
    /// The folder that holds train and test, or the class folders themselves; null when a folder has another layout.
    /// </summary>
    public static string? FindRoot(string folder) =>
        new[] { folder, Path.Combine(folder, "aclImdb") }.FirstOrDefault(
            root => HasClasses(root) || HasClasses(Path.Combine(root, "train")) || HasClasses(Path.Combine(root, "test")));

    public static bool IsArchive(string file) =>
        new[] { ".tar.gz", ".tgz", ".tar" }.Any(end => file.EndsWith(end, StringComparison.OrdinalIgnoreCase));

    /// <summary>Reviews of a folder: negative ones first, as on the Hub, each class in the order of its ids.</summary>
    public static IEnumerable<Review> ReadFolder(string root, ReviewReadOptions options)
    {
        bool isSplit = HasClasses(root);
        var inside = isSplit && Path.GetFileName(Path.TrimEndingDirectorySeparator(root)) is "test" ? "test" : "train";
        var classes = Classes(options.Split ?? inside).Where(c => !isSplit || c.Split == inside)
            .Select(c => (c.Label, Folder: isSplit ? Path.Combine(root, c.Name) : Path.Combine(root, c.Split, c.Name)))
            .Where(c => Directory.Exists(c.Folder)).ToArray();
        if (classes.Length == 0)
            throw NoSuchSplit(root, options.Split ?? inside);
        return classes.SelectMany(
            c => Files(c.Folder).Select(file => new Review(ReadText(file, options.MaxTextLength), c.Label)));
    }

    /// <summary>Reviews of an archive, in its order.</summary>
    public static IEnumerable<Review> ReadArchive(string file, ReviewReadOptions options)
    {
        var split = options.Split ?? "train";
        var classes = Classes(split);
        using var stream = OpenArchive(file);
        bool any = false;
        foreach (var member in TarMembers.Read(
            stream, file, name => Label(name, classes) is not null, options.MaxTextLength, options.MaxArchiveBytes))
        {
            any = true;
            var text = Decode(member.Content, $"{file}, member {UntrustedText.Clean(member.Name)}");
            yield return new Review(text, Label(member.Name, classes)!.Label);
        }
        if (!any)
            throw NoSuchSplit(file, split);
    }

    private static ArgumentException NoSuchSplit(string path, string split) => new(
        $"{path} has no reviews of the split \"{split}\" in aclImdb's layout; its splits are train, test and unsupervised.");

    private static ClassFolder[] Classes(string split) => DataFiles.Canonical(split) switch
    {
        "unsupervised" => [new("train", "unsup", null)],
        var name => [new(name, "neg", 0), new(name, "pos", 1)],
    };

    private static ClassFolder? Label(string member, ClassFolder[] classes) =>
        MemberName().Match(member) is { Success: true } match
            ? classes.FirstOrDefault(c => c.Split == match.Groups[1].Value && c.Name == match.Groups[2].Value) : null;

    private static bool HasClasses(string folder) =>
        new[] { "neg", "pos", "unsup" }.Any(name => Directory.Exists(Path.Combine(folder, name)));

    private static IEnumerable<string> Files(string folder) =>
        from file in Directory.EnumerateFiles(folder)
        let match = ReviewName().Match(Path.GetFileName(file))
        where match.Success
        orderby match.Groups[1].Length, match.Groups[1].Value, file
        select file;

    private static string ReadText(string file, int maxLength) => Decode(BoundedFile.Read(file, maxLength, "one review"), file);

    private static string Decode(byte[] content, string place)
    {
        try
        {
            var text = content.AsSpan();
            return BoundedLines.StrictUtf8.GetString(text.StartsWith(Encoding.UTF8.Preamble) ? text[3..] : text);
        }
        catch (DecoderFallbackException error)
        {
            throw new InvalidDataException($"{place}: the bytes are not UTF-8; save the file as UTF-8.", error);
        }
    }

    private static Stream OpenArchive(string file)
    {
        var stream = RegularFile.Open(file);
        return file.EndsWith(".tar", StringComparison.OrdinalIgnoreCase)
            ? stream : new GZipStream(stream, CompressionMode.Decompress);
    }

    [GeneratedRegex(@"^(\d{1,9})_\d{1,2}\.txt$")]
    private static partial Regex ReviewName();

    // No "..", and no path from the root: a member of that name is not part of the data set.
    [GeneratedRegex(@"^(?:\./)?(?:(?!\.\./)[^/]+/)?(train|test)/(neg|pos|unsup)/\d{1,9}_\d{1,2}\.txt$")]
    private static partial Regex MemberName();
}
