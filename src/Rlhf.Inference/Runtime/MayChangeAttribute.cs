namespace Rlhf.Runtime;

/// <summary>
/// A run may be resumed with another value of this setting, or of all settings of the record; all others must stay as the run began.
/// </summary>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Class)]
public sealed class MayChangeAttribute : Attribute
{
    /// <summary>Name of a property that says whether it may, such as <c>HasConstantRate</c>, of this record or another of the run; null: always.</summary>
    public string? When { get; init; }
}
