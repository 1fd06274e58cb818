using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Rlhf.Runtime.Text;

namespace Rlhf.Hub;

/// <summary>Whether a request carries the token.</summary>
internal enum HubAccess
{
    /// <summary>Never: the address was signed for us.</summary>
    Anonymous,

    /// <summary>When there is one and it may be sent unasked.</summary>
    Implicit,

    /// <summary>Always.</summary>
    Token,
}

/// <summary>What a request is about, for messages.</summary>
internal sealed record HubSubject(string What, HubRepo? Repo = null, string? Revision = null, string? File = null);

/// <summary>One request.</summary>
internal sealed record HubCall(HttpMethod Method, Uri Address, HubSubject Subject)
{
    public HubAccess Access { get; init; } = HubAccess.Implicit;

    /// <summary>Makes the body anew for each attempt.</summary>
    public Func<HttpContent>? Content { get; init; }

    public string? Accept { get; init; }

    /// <summary>First byte that is wanted; 0 asks for all.</summary>
    public long Offset { get; init; }

    /// <summary>Ask for the bytes as they are stored.</summary>
    public bool Identity { get; init; }

    /// <summary>Go where another host's redirect points, without the token. Otherwise its answer is given back.</summary>
    public bool LeaveHost { get; init; }

    /// <summary>Further attempts to get an answer at all; null: as many as for everything else.</summary>
    public int? ConnectionRetries { get; init; } = 2;

    /// <summary>Longest wait for the answer's headers, or longest silence while a body is sent.</summary>
    public TimeSpan Timeout { get; init; }
}

/// <summary>Requests to the Hub: the token goes to the Hub's own address and never along with a redirect to another.</summary>
internal sealed class HubHttp : IDisposable
{
    private const int MostRedirects = 10, LargestAnswer = 64 << 20;

    private readonly HttpClient client;
    private readonly HubOptions options;

    public HubHttp(HubOptions options)
    {
        this.options = options;
        client = new(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            ConnectTimeout = options.EtagTimeout,
        })
        { Timeout = Timeout.InfiniteTimeSpan };
        string version = typeof(HubHttp).Assembly.GetName().Version?.ToString(3) ?? "0";
        client.DefaultRequestHeaders.UserAgent.ParseAdd($"rlhf/{version} dotnet/{Environment.Version}");
    }

    public HubRetry Retry => new(options);

    /// <summary>An address below the endpoint; the path's parts must be escaped.</summary>
    public Uri Address(string path) => new(options.Endpoint, path);

    /// <summary>Whether an address is of the Hub itself: scheme, host and port.</summary>
    public bool IsHub(Uri address) => SameHost(address, options.Endpoint);

    /// <summary>Sends a request, once, and follows redirects; the answer may be of any status but those that may pass.</summary>
    /// <exception cref="HubTransientException">No answer, or one that may be better next time.</exception>
    public async Task<HttpResponseMessage> SendAsync(HubCall call, CancellationToken cancellation)
    {
        var address = call.Address;
        bool left = false; // once away from the Hub, nobody can lead us back with the token
        for (int redirects = 0; redirects <= MostRedirects; redirects++)
        {
            left |= !IsHub(address);
            var response = await SendOnceAsync(call, address, withToken: !left, cancellation).ConfigureAwait(false);
            if (Target(response, address) is not { } target)
                return response;
            if (!SameHost(target, address) && !call.LeaveHost)
                return response;
            bool repeats = call.Method == HttpMethod.Get || call.Method == HttpMethod.Head
                || (int)response.StatusCode is 307 or 308;
            response.Dispose();
            if (!repeats || (address.Scheme == "https" && target.Scheme != "https"))
                throw new HubException(HubError.Protocol,
                    $"The server of {call.Subject.What} redirects to {target.Scheme}://{target.Host}, which was refused.");
            address = target;
        }
        throw new HubException(HubError.Protocol, $"The server of {call.Subject.What} redirects in circles.");
    }

    /// <summary>As <see cref="SendAsync"/>, again and again where that helps, until the answer is good.</summary>
    /// <exception cref="HubException">There is no good answer.</exception>
    public Task<T> SendAsync<T>(
        HubCall call, Func<HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancellation) =>
        Retry.RunAsync(async token =>
        {
            using var response = await SendAsync(call, token).ConfigureAwait(false);
            HubAnswer.ThrowIfFailed(response, call, options);
            return await read(response, token).ConfigureAwait(false);
        }, cancellation, connectionRetries: call.ConnectionRetries);

    /// <summary>The answer's JSON.</summary>
    /// <exception cref="HubException">There is no good answer.</exception>
    public Task<JsonDocument> JsonAsync(HubCall call, CancellationToken cancellation) =>
        SendAsync(call, (response, token) => ReadJsonAsync(response, call, token), cancellation);

    /// <summary>Reads a bounded body.</summary>
    public async Task<JsonDocument> ReadJsonAsync(HttpResponseMessage response, HubCall call, CancellationToken cancellation)
    {
        if (response.Content.Headers.ContentLength > LargestAnswer)
            throw HubAnswer.TooLarge(call);
        var body = new MemoryStream();
        await CopyAsync(response, call.Timeout, async (bytes, _) =>
        {
            if (body.Length + bytes.Length > LargestAnswer)
                throw HubAnswer.TooLarge(call);
            await body.WriteAsync(bytes, CancellationToken.None).ConfigureAwait(false);
        }, cancellation).ConfigureAwait(false);
        return Parse(body.GetBuffer().AsMemory(0, (int)body.Length), call);
    }

    /// <summary>An answer's JSON, of which every text can be decoded.</summary>
    /// <exception cref="HubException">It is not such JSON.</exception>
    internal static JsonDocument Parse(ReadOnlyMemory<byte> answer, HubCall call)
    {
        try
        {
            UntrustedJson.Check(answer.Span);
            return JsonDocument.Parse(answer);
        }
        catch (JsonException e)
        {
            throw HubAnswer.NotTheHub(call, e);
        }
    }

    /// <summary>Hands on an answer's body as it arrives.</summary>
    /// <exception cref="HubTransientException">It ended early or went silent.</exception>
    public static async Task CopyAsync(
        HttpResponseMessage response, TimeSpan silence, Func<ReadOnlyMemory<byte>, CancellationToken, Task> write,
        CancellationToken cancellation)
    {
        var buffer = new byte[1 << 18];
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Stream stream;
        try
        {
            stream = await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false);
        }
        catch (HttpRequestException e)
        {
            throw new HubTransientException(HubError.Connection, $"The connection broke: {HubText.Clean(e.Message)}", e);
        }
        for (; ; )
        {
            int read;
            try
            {
                timeout.CancelAfter(silence);
                read = await stream.ReadAsync(buffer, timeout.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or HttpRequestException)
            {
                throw new HubTransientException(HubError.Connection, "The connection broke in the middle of a transfer.", e);
            }
            catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
            {
                throw new HubTransientException(HubError.Connection,
                    $"Nothing more arrived for {silence.TotalSeconds:0.#} s.", e);
            }
            if (read == 0)
                return;
            await write(buffer.AsMemory(0, read), cancellation).ConfigureAwait(false);
        }
    }

    public void Dispose() => client.Dispose();

    private async Task<HttpResponseMessage> SendOnceAsync(
        HubCall call, Uri address, bool withToken, CancellationToken cancellation)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        timeout.CancelAfter(call.Timeout);
        using var request = new HttpRequestMessage(call.Method, address);
        request.Content = call.Content?.Invoke();
        if (request.Content is HubFileContent file)
            file.Alive = () => timeout.CancelAfter(call.Timeout);
        if (call.Offset > 0)
            request.Headers.Range = new(call.Offset, null);
        if (call.Identity)
            request.Headers.AcceptEncoding.Add(new("identity"));
        if (call.Accept is not null)
            request.Headers.Accept.ParseAdd(call.Accept);
        bool wanted = call.Access == HubAccess.Token || (call.Access == HubAccess.Implicit && options.ImplicitToken);
        if (wanted && withToken && options.Token is { } token)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        try
        {
            return await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, timeout.Token).ConfigureAwait(false);
        }
        catch (HttpRequestException e) when (e.InnerException is HubException inner)
        {
            throw inner; // the body could not be read from the disk
        }
        catch (HttpRequestException e)
        {
            bool none = e.HttpRequestError is HttpRequestError.NameResolutionError or HttpRequestError.ConnectionError
                or HttpRequestError.SecureConnectionError or HttpRequestError.ProxyTunnelError;
            throw new HubTransientException(HubError.Connection,
                $"{address.Scheme}://{address.Authority} cannot be reached ({HubText.Clean(e.Message).TrimEnd('.')}).", e)
            { NoConnection = none };
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new HubTransientException(HubError.Connection, string.Create(CultureInfo.InvariantCulture,
                $"{address.Scheme}://{address.Authority} did not answer within {call.Timeout.TotalSeconds:0.#} s."), e)
            { NoConnection = true };
        }
    }

    public static bool SameHost(Uri one, Uri other) => Uri.Compare(
        one, other, UriComponents.SchemeAndServer, UriFormat.SafeUnescaped, StringComparison.OrdinalIgnoreCase) == 0;

    private static Uri? Target(HttpResponseMessage response, Uri address)
    {
        bool redirects = response.StatusCode is HttpStatusCode.Moved or HttpStatusCode.Found or HttpStatusCode.SeeOther
            or HttpStatusCode.TemporaryRedirect or HttpStatusCode.PermanentRedirect;
        return redirects && response.Headers.Location is { } location
            && Uri.TryCreate(address, location, out var target) && target.Scheme is "http" or "https" ? target : null;
    }
}
