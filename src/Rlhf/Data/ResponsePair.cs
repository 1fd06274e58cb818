using System.Security.Cryptography;
using System.Text;

namespace Rlhf.Data;

/// <summary>Two answers to a prompt of which nobody has said yet which is better: one line of a pairs file.</summary>
/// <param name="Id">Names the pair; see <see cref="IdOf"/>.</param>
/// <param name="Prompt">What both answer.</param>
/// <param name="ResponseA">The answer that is shown first.</param>
/// <param name="ResponseB">The answer that is shown second.</param>
/// <param name="Model">The model that wrote them; null when unknown.</param>
public sealed record ResponsePair(string Id, string Prompt, string ResponseA, string ResponseB, string? Model = null)
{
    /// <summary>
    /// 16 hexadecimal digits drawn from prompt and answers, whatever the order of the answers: a pair that is sampled twice has
    /// one id.
    /// </summary>
    public static string IdOf(string prompt, string response, string other)
    {
        if (string.CompareOrdinal(response, other) > 0)
            (response, other) = (other, response);
        // Lengths keep texts apart that only join to the same characters.
        var content = $"{prompt.Length},{response.Length}:{prompt}{response}{other}";
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)).AsSpan(0, 8));
    }
}

/// <summary>Which answer of a pair was chosen.</summary>
public enum PairChoice
{
    /// <summary>The first.</summary>
    A,

    /// <summary>The second.</summary>
    B,
}

/// <summary>
/// A pair of which one answer was chosen: one line of a labeled file, which <see cref="PreferenceDataset"/> reads.
/// </summary>
/// <param name="Pair">The pair.</param>
/// <param name="Choice">The better answer.</param>
/// <param name="Labeler">Who chose, a person or a model; null when unknown.</param>
/// <param name="ScoreA">The labeler's score of the first answer; null for people, who give none.</param>
/// <param name="ScoreB">The same, of the second answer.</param>
public sealed record LabeledPair(
    ResponsePair Pair, PairChoice Choice, string? Labeler = null, double? ScoreA = null, double? ScoreB = null)
{
    /// <summary>The better answer.</summary>
    public string Chosen => Choice == PairChoice.A ? Pair.ResponseA : Pair.ResponseB;

    /// <summary>The worse answer.</summary>
    public string Rejected => Choice == PairChoice.A ? Pair.ResponseB : Pair.ResponseA;

    /// <summary>The labeler's score of the better answer.</summary>
    public double? ScoreChosen => Choice == PairChoice.A ? ScoreA : ScoreB;

    /// <summary>The labeler's score of the worse answer.</summary>
    public double? ScoreRejected => Choice == PairChoice.A ? ScoreB : ScoreA;
}
