namespace Rlhf.Studio.Runs;

/// <summary>Paths in commands, as people type them into a shell.</summary>
internal static class Shell
{
    /// <summary>A path from the folder that the studio was started in; a full one where it lies outside. It is not quoted.</summary>
    public static string Path(string path)
    {
        string full = System.IO.Path.GetFullPath(path), relative = System.IO.Path.GetRelativePath(Environment.CurrentDirectory, full);
        return relative.Split(System.IO.Path.DirectorySeparatorChar)[0] == ".." ? full : relative;
    }
}
