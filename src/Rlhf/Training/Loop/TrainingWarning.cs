namespace Rlhf.Training.Loop;

/// <summary>Something about a step that its user should know.</summary>
/// <param name="Kind">
/// What it is about, such as "kl_limit": warnings of one kind say the same with other numbers, so that whoever shows them can show the
/// first of each kind.
/// </param>
/// <param name="Text">Sentences: what was seen, the likely cause, and the setting to change.</param>
public sealed record TrainingWarning(string Kind, string Text)
{
    /// <summary>The sentences.</summary>
    public override string ToString() => Text;
}
