namespace Rlhf.Runtime.Text;

/// <summary>Words of commands, as people type them into a shell.</summary>
internal static class ShellWord
{
    /// <summary>The word, in quotes where a shell would not take it as it is.</summary>
    /// <param name="word">What the shell is to understand.</param>
    public static string Of(string word) =>
        word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./=:,+@%".Contains(c)) ? word
            : $"'{word.Replace("'", "'\\''")}'";
}
