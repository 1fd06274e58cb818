using System.Text.RegularExpressions;
using Rlhf.Runtime.Text;

namespace Rlhf.Models.Adapters;

/// <summary>Which modules of a model are meant: by the ends of their names, by a regular expression, or all linear layers.</summary>
/// <remarks>
/// PEFT's rules. A name means the module of that name and every module whose name ends in a dot and it (<c>q_proj</c>); an expression has
/// to match a module's whole name. Expressions are Python's, as far as .NET's are the same.
/// </remarks>
public sealed class ModuleSelection
{
    private const string EveryLinear = "all-linear";
    private const int LongestPattern = 10_000;

    // An expression from a file must not run for long, whatever it says.
    private static readonly TimeSpan MatchTime = TimeSpan.FromSeconds(2);

    private readonly Regex? regex;

    private ModuleSelection(IReadOnlyList<string> names) => Names = names;

    private ModuleSelection(string pattern)
    {
        (Names, Pattern) = ([], pattern);
        IsAllLinear = string.Equals(pattern, EveryLinear, StringComparison.OrdinalIgnoreCase);
        regex = IsAllLinear ? null : Compile($"^(?:{pattern})\\z", pattern);
    }

    /// <summary>All linear layers but the output layer or the head of a classifier.</summary>
    public static ModuleSelection AllLinear { get; } = new(EveryLinear);

    /// <summary>The names; empty where there is a pattern.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The regular expression, or "all-linear"; null where there are names.</summary>
    public string? Pattern { get; }

    /// <summary>Are all linear layers meant?</summary>
    public bool IsAllLinear { get; }

    /// <summary>Modules by name.</summary>
    public static ModuleSelection Of(params IReadOnlyList<string> names) => new(names);

    /// <summary>Modules by a regular expression; "all-linear" is <see cref="AllLinear"/>.</summary>
    /// <exception cref="FormatException">The expression is invalid, or too long.</exception>
    public static ModuleSelection Matching(string pattern) => new(pattern);

    /// <summary><see cref="Of"/>.</summary>
    public static implicit operator ModuleSelection(string[] names) => Of(names);

    /// <summary>Is a module meant? <see cref="AllLinear"/> means every module here; what is no linear layer is the caller's to know.</summary>
    /// <exception cref="FormatException">The expression takes too long.</exception>
    public bool Matches(string module) => IsAllLinear || (regex is null ? Names.Any(n => EndsWith(module, n)) : IsMatch(regex, module));

    /// <inheritdoc/>
    public override string ToString() => Pattern ?? string.Join(", ", Names);

    /// <summary>Is a module of this name, or does its name end in a dot and it?</summary>
    internal static bool EndsWith(string module, string name) =>
        module == name || module.Length > name.Length && module.EndsWith(name, StringComparison.Ordinal) && module[^(name.Length + 1)] == '.';

    /// <summary>
    /// The first of some keys that a module's name matches, as a whole or at its end, each as a regular expression: PEFT's rule for
    /// <c>rank_pattern</c> and <c>alpha_pattern</c>.
    /// </summary>
    /// <exception cref="FormatException">A key is no valid expression, or takes too long.</exception>
    internal static string? KeyOf(IEnumerable<string> keys, string module) =>
        keys.FirstOrDefault(key => IsMatch(Compile($"^(?:.*\\.)?(?:{key})\\z", key), module));

    /// <summary>Python's expression as .NET writes it.</summary>
    /// <exception cref="FormatException">It is invalid, or too long.</exception>
    internal static Regex Compile(string whole, string pattern)
    {
        if (pattern.Length > LongestPattern)
            throw new FormatException($"a regular expression of {pattern.Length:N0} characters is too long.");
        try
        {
            string named = whole.Replace("(?P<", "(?<", StringComparison.Ordinal);
            return new Regex(Regex.Replace(named, @"\(\?P=(\w+)\)", @"\k<$1>"), RegexOptions.CultureInvariant, MatchTime);
        }
        catch (ArgumentException e)
        {
            throw new FormatException($"{UntrustedText.Quote(pattern)} is not a valid regular expression: {UntrustedText.Clean(e.Message)}", e);
        }
    }

    internal static bool IsMatch(Regex regex, string module)
    {
        try
        {
            return regex.IsMatch(module);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new FormatException($"the regular expression {UntrustedText.Quote(regex.ToString())} takes too long.", e);
        }
    }
}
