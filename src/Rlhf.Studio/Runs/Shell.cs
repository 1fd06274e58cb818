namespace Rlhf.Studio.Runs;

/// <summary>Words of commands, as people type them into a shell.</summary>
internal static class Shell
{
    /// <summary>The word, in quotes where a shell would not take it as it is.</summary>
    public static string Word(string word) =>
        word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./=:,+@%".Contains(c)) ? word
            : $"'{word.Replace("'", "'\\''")}'";

    /// <summary>A path from the folder that the studio was started in; a full one where it lies outside. It is not quoted.</summary>
    public static string Path(string path)
    {
        string full = System.IO.Path.GetFullPath(path), relative = System.IO.Path.GetRelativePath(Environment.CurrentDirectory, full);
        return relative.Split(System.IO.Path.DirectorySeparatorChar)[0] == ".." ? full : relative;
    }
}
