using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Rlhf.Runtime.Text;

namespace Rlhf.Rewards;

/// <summary>
/// Scores that a web service gives. It is sent <c>{"queries":[…],"responses":[…],"texts":[…]}</c> by POST and answers
/// <c>{"scores":[…]}</c>, one finite number per text. Where the data has further columns or messages, <c>"fields":[{…},…]</c> and
/// <c>"messages":[[{…},…],…]</c> are sent, too.
/// </summary>
public sealed class HttpReward : IRewardFunction
{
    private const int BaseAnswerBytes = 1 << 20, AnswerBytesPerScore = 1 << 10;

    private readonly Uri endpoint;
    private readonly HttpClient client;
    private readonly bool ownsClient;

    /// <summary>A reward from a web service.</summary>
    /// <param name="endpoint">Absolute http or https address.</param>
    /// <param name="client">Sends the requests, for example with credentials; not disposed. Null makes
    /// one that follows no redirects.</param>
    /// <exception cref="ArgumentException">The address is neither http nor https.</exception>
    public HttpReward(Uri endpoint, HttpClient? client = null)
    {
        if (!endpoint.IsAbsoluteUri || endpoint.Scheme is not ("http" or "https"))
            throw new ArgumentException($"The reward's address '{endpoint}' must begin with http:// or https://.");
        this.endpoint = endpoint;
        ownsClient = client is null;
        this.client = client ?? new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false })
        {
            Timeout = System.Threading.Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "http";

    /// <summary>Longest time for one request and its answer.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Times that a request is sent before giving up on a service that cannot be reached or says that it
    /// is busy (429, 502, 503, 504).
    /// </summary>
    public int Attempts { get; init; } = 3;

    /// <summary>Pause after the first failed attempt; it doubles with each.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    /// <exception cref="RewardException">The service cannot be reached, is too slow, or answers what cannot be used.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled: at once, whether it waits for an answer or before another attempt.</exception>
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(
        IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        if (completions.Count == 0)
            return [];
        var answer = await AskAsync(completions, cancellation).ConfigureAwait(false);
        return RewardChecks.Check(Name, completions, Read(answer));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (ownsClient)
            client.Dispose();
    }

    private async Task<byte[]> AskAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation)
    {
        var request = new Dictionary<string, object>
        {
            ["queries"] = completions.Select(c => c.Query),
            ["responses"] = completions.Select(c => c.Response),
            ["texts"] = completions.Select(c => c.Text),
        };
        if (completions.Any(c => c.Fields.Count > 0))
            request["fields"] = completions.Select(c => c.Fields);
        if (completions.Any(c => c.Messages is not null))
            request["messages"] = completions.Select(CompletionJson.Messages);
        var body = JsonSerializer.SerializeToUtf8Bytes(request);
        int limit = checked(BaseAnswerBytes + AnswerBytesPerScore * completions.Count);
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                var (status, answer) = await SendAsync(body, limit, cancellation).ConfigureAwait(false);
                if ((int)status is >= 200 and < 300)
                    return answer;
                if (attempt >= Attempts || status is not (HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway
                    or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout))
                    throw Refuse($"answered {(int)status} {status}: {Excerpt(answer)}");
            }
            catch (HttpRequestException) when (attempt < Attempts)
            {
            }
            catch (Exception e) when (e is HttpRequestException or IOException)
            {
                throw Refuse($"cannot be reached: {e.Message}", e);
            }
            catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
            {
                throw Refuse($"gave no answer within {Timeout.TotalSeconds:0.###} s", e);
            }
            await Task.Delay(RetryDelay * (1 << Math.Min(attempt - 1, 10)), cancellation).ConfigureAwait(false);
        }
    }

    private async Task<(HttpStatusCode Status, byte[] Answer)> SendAsync(
        byte[] body, int limit, CancellationToken cancellation)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(Timeout);
        using var content =
            new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        using var request = new HttpRequestMessage(HttpMethod.Post, endpoint) { Content = content };
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, deadline.Token)
            .ConfigureAwait(false);
        using var stream = await response.Content.ReadAsStreamAsync(deadline.Token).ConfigureAwait(false);
        using var answer = new MemoryStream();
        var buffer = new byte[16 << 10];
        while (await stream.ReadAsync(buffer, deadline.Token).ConfigureAwait(false) is var count and > 0)
        {
            if (answer.Length + count > limit)
                throw Refuse($"answered more than {limit} bytes");
            answer.Write(buffer, 0, count);
        }
        return (response.StatusCode, answer.ToArray());
    }

    internal float[] Read(byte[] answer)
    {
        try
        {
            UntrustedJson.Check(answer);
            using var json = JsonDocument.Parse(answer);
            if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("scores", out var scores)
                || scores.ValueKind != JsonValueKind.Array
                || scores.EnumerateArray().Any(s => s.ValueKind != JsonValueKind.Number))
                throw Refuse($"must answer {{\"scores\":[numbers]}}, but answered {Excerpt(answer)}");
            return [.. scores.EnumerateArray().Select(s => s.GetSingle())];
        }
        catch (JsonException e)
        {
            throw Refuse($"did not answer valid JSON: {Excerpt(answer)}", e);
        }
    }

    private RewardException Refuse(string what, Exception? cause = null) =>
        new($"Reward '{Name}': {endpoint} {what}.", null, cause);

    private static string Excerpt(byte[] answer) =>
        UntrustedText.Clean(Encoding.UTF8.GetString(answer, 0, Math.Min(answer.Length, 200)));
}
