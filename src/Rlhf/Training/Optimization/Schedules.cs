namespace Rlhf.Training.Optimization;

/// <summary>Learning rates over a run.</summary>
internal static class Schedules
{
    /// <summary>Steps of a warm-up that is a fraction of the run, rounded up as Hugging Face's TrainingArguments do.</summary>
    /// <param name="ratio">Fraction of all steps, from 0 to 1.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    public static long WarmupSteps(double ratio, long totalSteps) => (long)Math.Ceiling(totalSteps * ratio);

    /// <summary>
    /// The factor of the peak learning rate at a step: up in a straight line over the warm-up, then by
    /// the schedule down to 0 at the end.
    /// </summary>
    /// <param name="schedule">What happens after the warm-up.</param>
    /// <param name="step">0 is the first optimizer step.</param>
    /// <param name="warmupSteps">Steps of the warm-up.</param>
    /// <param name="totalSteps">Steps of the run.</param>
    public static double Factor(LearningRateSchedule schedule, long step, long warmupSteps, long totalSteps)
    {
        if (step < warmupSteps)
            return (step + 1.0) / (warmupSteps + 1.0);
        double progress = Math.Clamp((step - warmupSteps) / (double)Math.Max(1, totalSteps - warmupSteps), 0, 1);
        return schedule switch
        {
            LearningRateSchedule.Linear => 1 - progress,
            LearningRateSchedule.Cosine => 0.5 * (1 + Math.Cos(Math.PI * progress)),
            _ => 1,
        };
    }
}
