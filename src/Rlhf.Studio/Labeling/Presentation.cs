using Rlhf.Data;

namespace Rlhf.Studio.Labeling;

/// <summary>Who labels: a person, and this visit of the page.</summary>
/// <param name="Name">The person's name; empty when unknown.</param>
/// <param name="Session">Tells visits apart.</param>
public readonly record struct Labeler(string Name, string Session)
{
    /// <summary>A new visit.</summary>
    /// <param name="name">Who; white space around it and control characters do not count.</param>
    public static Labeler New(string name) => new(Clean(name), Guid.NewGuid().ToString("N")[..8]);

    /// <summary>A name as it is kept: on one line, and not long.</summary>
    public static string Clean(string? name)
    {
        string printable = new([.. (name ?? "").Where(c => !char.IsControl(c) && !char.IsSurrogate(c))]);
        return printable.Trim()[..Math.Min(60, printable.Trim().Length)];
    }
}

/// <summary>A pair as it stands on the page.</summary>
/// <param name="Pair">The pair.</param>
/// <param name="Repeat">
/// Was it judged already, and is shown once more to see whether the choice is the same? Then the answers are swapped.
/// </param>
public sealed record Presentation(ResponsePair Pair, bool Repeat)
{
    /// <summary>Does the file's second answer stand first?</summary>
    public bool Swapped => Repeat;

    /// <summary>The answer that stands first.</summary>
    public string First => Swapped ? Pair.ResponseB : Pair.ResponseA;

    /// <summary>The answer that stands second.</summary>
    public string Second => Swapped ? Pair.ResponseA : Pair.ResponseB;

    /// <summary>The verdict that the answer which stands first, or the one which stands second, is better.</summary>
    public Verdict Prefers(bool first) => first != Swapped ? Verdict.A : Verdict.B;
}
