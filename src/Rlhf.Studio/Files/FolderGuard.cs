namespace Rlhf.Studio.Files;

/// <summary>A folder that files may be read from, and nothing outside it: neither by <c>..</c> nor through a link.</summary>
/// <param name="folder">The folder; it need not exist yet.</param>
public sealed class FolderGuard(string folder)
{
    private const int MostLinks = 40;
    private static readonly StringComparison PathComparison =
        OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    /// <summary>The folder's full path.</summary>
    public string Folder { get; } = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));

    /// <summary>The real path of something that exists in the folder, or null: it is not there, or lies outside.</summary>
    /// <param name="relative">Path from the folder; empty is the folder itself.</param>
    public string? Resolve(string relative)
    {
        if (relative.Contains('\0') || Path.IsPathRooted(relative) || RealPath(Folder) is not { } root)
            return null;
        return RealPath(Path.Combine(root, relative)) is { } real && IsInside(real, root) ? real : null;
    }

    /// <summary>Is a real path the folder or in it?</summary>
    private static bool IsInside(string path, string root) => path.Equals(root, PathComparison)
        || path.StartsWith(Path.EndsInDirectorySeparator(root) ? root : root + Path.DirectorySeparatorChar, PathComparison);

    /// <summary>The path with every link in it followed, or null where nothing is there.</summary>
    internal static string? RealPath(string path)
    {
        string current = Path.GetPathRoot(Path.GetFullPath(path))!;
        var rest = new Stack<string>();
        Push(rest, Path.GetFullPath(path)[current.Length..]);
        int links = 0;
        while (rest.TryPop(out var part))
        {
            if (part == "..")
            {
                current = Path.GetDirectoryName(current) ?? current;
                continue;
            }
            string next = Path.Combine(current, part);
            try
            {
                if (new FileInfo(next).LinkTarget is not { } target)
                {
                    File.GetAttributes(next); // throws where nothing is
                    current = next;
                }
                else if (++links > MostLinks)
                    return null;
                else
                {
                    if (Path.IsPathRooted(target))
                        current = Path.GetPathRoot(target)!;
                    Push(rest, Path.IsPathRooted(target) ? target[current.Length..] : target);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
            {
                return null;
            }
        }
        return current;
    }

    private static void Push(Stack<string> rest, string path)
    {
        foreach (var part in path.Split([Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar]).Reverse())
            if (part.Length > 0 && part != ".")
                rest.Push(part);
    }
}
