using System.Text.RegularExpressions;
using Rlhf.Rewards;

/// <summary>
/// What the scripted labeler likes: positive, polite and short answers. Its score is the sentiment of the whole text, less a penalty
/// for each word that is rude, each exclamation mark, each word in capitals, and each letter of the answer beyond 40.
/// </summary>
/// <param name="sentiment">A classifier's logit of POSITIVE.</param>
internal sealed partial class Preference(IRewardFunction sentiment) : IRewardFunction
{
    private const float RudeWord = 1.5f, Exclamation = 1f, Capitals = 0.7f, LetterTooMany = 0.04f;
    private const int FreeLetters = 40;

    /// <inheritdoc/>
    public string Name => "short, polite and positive";

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(
        IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        [.. (await sentiment.ScoreAsync(completions, cancellation))
            .Zip(completions, (logit, c) => logit - Rudeness(c.Response) - Length(c.Response))];

    /// <inheritdoc/>
    public void Dispose() => sentiment.Dispose();

    /// <summary>Penalty for rudeness and shouting.</summary>
    public static float Rudeness(string answer) => RudeWord * Rude().Count(answer) + Exclamation * answer.Count(c => c == '!')
        + Capitals * Shouted().Count(answer);

    /// <summary>Penalty for length.</summary>
    public static float Length(string answer) => LetterTooMany * Math.Max(0, answer.Trim().Length - FreeLetters);

    [GeneratedRegex(@"\b(crap|crappy|damn|dumb|hell|idiot|idiotic|idiots|moron|pathetic|shit|stupid|suck|sucks|trash|garbage)\b",
        RegexOptions.IgnoreCase)]
    private static partial Regex Rude();

    [GeneratedRegex(@"\b[A-Z]{2,}\b")]
    private static partial Regex Shouted();
}
