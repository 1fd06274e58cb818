using Polly;
using Polly.Retry;

namespace Rlhf.Hub;

/// <summary>Tries again what may pass: silence, broken connections, truncated bodies, 429 and 5xx.</summary>
internal sealed class HubRetry(HubOptions options)
{
    private const int LargestDelayFactor = 30;

    /// <summary>
    /// Runs an attempt until it succeeds, fails for good, or has failed too often in a row without <paramref name="progress"/>.
    /// </summary>
    /// <param name="attempt">Throws <see cref="HubTransientException"/> for what may pass.</param>
    /// <param name="progress">How far the attempts got together, such as bytes on the disk; null: all or nothing.</param>
    /// <param name="cancellation">Stops attempts and waits.</param>
    /// <param name="connectionRetries">Further attempts when there is no answer at all; null: as for everything else.</param>
    /// <exception cref="HubException">It failed for good.</exception>
    public async Task<T> RunAsync<T>(
        Func<CancellationToken, Task<T>> attempt, CancellationToken cancellation, Func<long>? progress = null,
        int? connectionRetries = null)
    {
        int fruitless = 0;
        long best = progress?.Invoke() ?? 0;
        bool Again(HubTransientException failure)
        {
            if (progress?.Invoke() is { } now && now > best)
                (best, fruitless) = (now, 0);
            fruitless++;
            int allowed = failure.NoConnection && connectionRetries is { } few ? Math.Min(few, options.Retries) : options.Retries;
            return fruitless <= allowed
                && !(failure.RetryAfter > options.LongestRetryAfter);
        }
        var pipeline = new ResiliencePipelineBuilder<T> { TimeProvider = options.TimeProvider }
            .AddRetry(new RetryStrategyOptions<T>
            {
                MaxRetryAttempts = int.MaxValue,
                ShouldHandle = args => new(args.Outcome.Exception is HubTransientException failure && Again(failure)),
                DelayGenerator = args => new(Delay((HubTransientException)args.Outcome.Exception!, fruitless)),
            })
            .Build();
        try
        {
            return await pipeline.ExecuteAsync(async token => await attempt(token).ConfigureAwait(false), cancellation)
                .ConfigureAwait(false);
        }
        catch (HubTransientException failure)
        {
            string tries = fruitless > 1 ? $" It was tried {fruitless} times." : "";
            throw new HubException(failure.Error, failure.Message + tries, failure.InnerException);
        }
    }

    private TimeSpan Delay(HubTransientException failure, int fruitless)
    {
        if (failure.RetryAfter is { } asked)
            return asked;
        double factor = Math.Min(Math.Pow(2, Math.Max(0, fruitless - 1)), LargestDelayFactor);
        return options.RetryDelay * (factor * (1 + 0.25 * Random.Shared.NextDouble())); // apart from other clients
    }
}
