using Rlhf.Runtime;

namespace Rlhf.Models;

/// <summary>What the config.json of every sequence classifier says.</summary>
public abstract record ClassifierConfig
{
    /// <summary>Most weights that a model may have: a larger number is a damaged file.</summary>
    public const long MaxParameters = 200_000_000_000;

    /// <summary>Label names by index.</summary>
    public IReadOnlyList<string> Labels { get; init; } = LabelMaps.Default(2);

    /// <summary>One of <see cref="ProblemTypes"/>, or null when the file does not say.</summary>
    public string? ProblemType { get; init; }

    /// <summary>Number of weights, without the head.</summary>
    public abstract long ParameterCount { get; }

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public virtual IEnumerable<string> Validate()
    {
        if (Labels.Count is 0 or > LabelMaps.MaxLabels)
            yield return $"There are {Labels.Count} labels; a classifier has 1 to {LabelMaps.MaxLabels}.";
        if (Labels.Distinct().Count() != Labels.Count) yield return "A label name occurs twice.";
        if (!ProblemTypes.IsKnown(ProblemType))
            yield return $"The problem type '{ProblemType}' is unknown; use {ProblemTypes.Regression}, " +
                $"{ProblemTypes.SingleLabel} or {ProblemTypes.MultiLabel}.";
        if (ParameterCount > MaxParameters)
            yield return $"These sizes make {ParameterCount:N0} weights, more than {MaxParameters:N0}.";
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);

    private protected static T Check<T>(ConfigSection json, T config) where T : ClassifierConfig
    {
        if (config.Validate().FirstOrDefault() is { } problem)
            throw json.Refuse("sizes and settings", problem.TrimEnd('.'));
        return config;
    }
}
