// The 251 normative statements of MQTT 5.0, each in our own short words, and why some of them have no test of their
// own. Knows no test: scripts/generate-conformance.mjs reads these rows line by line, finds the tests by the statement
// ids in their names and writes docs/conformance.md. So a row stays on one line, without back quotes and placeholders.

export interface Statement {
  id: string
  /** Whom the statement binds. */
  applies: 'server' | 'client' | 'both'
  wording: string
}

const statementRows = `
MQTT-1.5.4-1   both    A string is well-formed UTF-8 without surrogates; anything else is a malformed packet.
MQTT-1.5.4-2   both    The null character does not occur in a string.
MQTT-1.5.4-3   both    EF BB BF is the character U+FEFF wherever it stands; it is never dropped as a byte order mark.
MQTT-1.5.5-1   both    A variable byte integer takes no more bytes than its value needs.
MQTT-1.5.7-1   both    Name and value of a string pair are each held to the rules for strings.
MQTT-2.1.3-1   both    Flag bits reserved in the fixed header have their prescribed value, or the packet is malformed.
MQTT-2.2.1-2   both    There is no packet identifier in a QoS 0 PUBLISH.
MQTT-2.2.1-3   client  A client numbers SUBSCRIBE, UNSUBSCRIBE and new QoS 1 or 2 PUBLISH packets, freely but not by 0.
MQTT-2.2.1-4   server  The server numbers each new QoS 1 or 2 PUBLISH with a free number above 0.
MQTT-2.2.1-5   both    The answers to a PUBLISH bear its packet identifier.
MQTT-2.2.1-6   server  The answer to SUBSCRIBE or UNSUBSCRIBE bears the packet identifier of the request.
MQTT-2.2.2-1   both    A packet without properties still says so, with a property length of 0.
MQTT-3.1.0-1   client  A connection opens with CONNECT and nothing else.
MQTT-3.1.0-2   server  CONNECT twice on one connection is a protocol error that ends it.
MQTT-3.1.2-1   both    The protocol is called MQTT; under another name the server may answer 0x84 and then closes.
MQTT-3.1.2-2   server  A protocol level that is not served may be answered by CONNACK 0x84; the connection closes.
MQTT-3.1.2-3   server  The lowest connect flag is verified to be 0.
MQTT-3.1.2-4   both    Clean Start 1 begins an empty session; what was stored under the client identifier goes.
MQTT-3.1.2-5   server  Clean Start 0 carries on with the stored session, if there is one.
MQTT-3.1.2-6   server  Clean Start 0 begins a new session if none is stored.
MQTT-3.1.2-7   server  A Will announced by its flag is kept together with the session.
MQTT-3.1.2-8   server  Once the connection is gone the Will goes out as soon as its delay or the session ends.
MQTT-3.1.2-9   client  The Will Flag promises properties, topic and payload of a Will, and all three are there.
MQTT-3.1.2-10  server  The Will is forgotten after its publication, and on a normal DISCONNECT.
MQTT-3.1.2-11  client  No Will, no Will QoS.
MQTT-3.1.2-12  client  The QoS of a Will is at most 2; 3 makes the packet malformed.
MQTT-3.1.2-13  client  No Will, no Will Retain.
MQTT-3.1.2-14  server  A Will without Will Retain is published as an ordinary message.
MQTT-3.1.2-15  server  A Will with Will Retain is published as a retained message.
MQTT-3.1.2-16  client  Without its flag there is no user name in the payload.
MQTT-3.1.2-17  client  With its flag there is a user name in the payload.
MQTT-3.1.2-18  client  Without its flag there is no password in the payload.
MQTT-3.1.2-19  client  With its flag there is a password in the payload.
MQTT-3.1.2-20  client  An idle client pings before its keep alive runs out.
MQTT-3.1.2-21  client  A keep alive named by the server takes the place of the client's own.
MQTT-3.1.2-22  server  A client silent for one and a half keep alive periods is treated as lost.
MQTT-3.1.2-23  both    A session with an expiry interval above 0 survives the connection.
MQTT-3.1.2-24  server  No packet to a client exceeds the maximum size which that client announced.
MQTT-3.1.2-25  server  A message over the client's maximum size is given up as though it had been delivered.
MQTT-3.1.2-26  server  Aliases chosen by the server stay within the client's Topic Alias Maximum.
MQTT-3.1.2-27  server  A client that announced no alias maximum, or 0, is sent no alias.
MQTT-3.1.2-28  server  Response Information is not given to a client that did not ask for it.
MQTT-3.1.2-29  server  With Request Problem Information 0 only PUBLISH, CONNACK and DISCONNECT may explain themselves.
MQTT-3.1.2-30  client  While authentication is going on a client sends AUTH or DISCONNECT only.
MQTT-3.1.3-1   client  The CONNECT payload has the order: client identifier, Will parts, user name, password.
MQTT-3.1.3-2   both    Session state is found by the client identifier.
MQTT-3.1.3-3   client  The CONNECT payload begins with a client identifier, even if it is empty.
MQTT-3.1.3-4   client  The client identifier obeys the rules for strings.
MQTT-3.1.3-5   server  One to 23 ASCII letters and digits are always good enough for a client identifier.
MQTT-3.1.3-6   server  An empty client identifier, where it is accepted, is replaced by a unique one.
MQTT-3.1.3-7   server  The identifier given by the server counts as the client's own and is told in CONNACK.
MQTT-3.1.3-8   server  A refused client identifier ends the connection; CONNACK 0x85 before that is optional.
MQTT-3.1.3-9   server  A client that is back on its session before the Will Delay ends has no Will published.
MQTT-3.1.3-10  server  User properties of a Will reach subscribers in their order.
MQTT-3.1.3-11  client  The Will Topic obeys the rules for strings.
MQTT-3.1.3-12  client  The user name obeys the rules for strings.
MQTT-3.1.4-1   server  CONNECT is checked against the format of the specification; a connection that fails is closed.
MQTT-3.1.4-2   server  A CONNECT turned down for any further reason ends in a closed connection.
MQTT-3.1.4-3   server  A newcomer with the same client identifier displaces the older connection, which is told 0x8E.
MQTT-3.1.4-4   server  Clean Start is acted upon at every CONNECT.
MQTT-3.1.4-5   server  A CONNECT that is accepted gets CONNACK 0x00.
MQTT-3.1.4-6   server  What follows a refused CONNECT is not looked at, AUTH excepted.
MQTT-3.2.0-1   server  Nothing but AUTH goes to a client ahead of the successful CONNACK.
MQTT-3.2.0-2   server  A connection sees one CONNACK at the most.
MQTT-3.2.2-1   server  Of the acknowledge flags only the lowest is in use; the rest are 0.
MQTT-3.2.2-2   server  Session Present is 0 for an accepted Clean Start.
MQTT-3.2.2-3   server  Otherwise Session Present says whether a stored session was found.
MQTT-3.2.2-4   client  A client that knows no session and is told there is one hangs up.
MQTT-3.2.2-5   client  A client whose session the server does not know drops its own half or hangs up.
MQTT-3.2.2-6   server  Session Present is 0 in every refusal.
MQTT-3.2.2-7   server  A CONNACK of 0x80 or more is followed by the end of the connection.
MQTT-3.2.2-8   server  CONNACK bears one of the reason codes listed for it.
MQTT-3.2.2-9   server  Support for less than QoS 2 is announced in CONNACK.
MQTT-3.2.2-10  server  Subscriptions may ask for any QoS whatever the server's maximum is.
MQTT-3.2.2-11  client  Nothing is published above the QoS that the server announced.
MQTT-3.2.2-12  server  A Will above the server's QoS makes it refuse the connection.
MQTT-3.2.2-13  server  A retained Will makes a server without retained messages refuse the connection.
MQTT-3.2.2-14  client  Nothing is published with RETAIN to a server that announced it has no retained messages.
MQTT-3.2.2-15  client  No packet to the server exceeds the maximum size which the server announced.
MQTT-3.2.2-16  server  A client identifier given by the server belongs to no other session there.
MQTT-3.2.2-17  client  Aliases chosen by a client stay within the server's Topic Alias Maximum.
MQTT-3.2.2-18  client  A server that announced no alias maximum is sent no alias.
MQTT-3.2.2-19  server  A CONNACK too large for the client goes out without its reason string.
MQTT-3.2.2-20  server  A CONNACK too large for the client goes out without its user properties.
MQTT-3.2.2-21  client  Server Keep Alive is what the client keeps to.
MQTT-3.2.2-22  server  A server that names no keep alive keeps to the client's.
MQTT-3.3.1-1   both    A PUBLISH sent again says so by DUP.
MQTT-3.3.1-2   both    DUP is never set at QoS 0.
MQTT-3.3.1-3   both    DUP of the incoming PUBLISH has no influence on DUP of the outgoing one.
MQTT-3.3.1-4   both    A PUBLISH of QoS 3 is malformed.
MQTT-3.3.1-5   server  A PUBLISH with RETAIN takes the place of the message retained for its topic.
MQTT-3.3.1-6   server  An empty one with RETAIN is delivered as usual and clears what was retained.
MQTT-3.3.1-7   server  An empty payload is never retained.
MQTT-3.3.1-8   server  A PUBLISH without RETAIN leaves what is retained alone.
MQTT-3.3.1-9   server  Retain Handling 0: every SUBSCRIBE brings the retained messages.
MQTT-3.3.1-10  server  Retain Handling 1: they come with a subscription that did not exist before, and only then.
MQTT-3.3.1-11  server  Retain Handling 2: they do not come.
MQTT-3.3.1-12  server  Without Retain As Published live messages arrive with RETAIN 0.
MQTT-3.3.1-13  server  With Retain As Published live messages arrive with the publisher's RETAIN.
MQTT-3.3.2-1   both    The variable header of PUBLISH starts with the topic name, a valid string.
MQTT-3.3.2-2   both    The topic name of a PUBLISH is free of wildcard characters.
MQTT-3.3.2-3   server  A subscriber only sees topic names that its filter matches.
MQTT-3.3.2-4   server  Payload Format Indicator passes unchanged to every subscriber.
MQTT-3.3.2-5   server  A message whose time ran out before delivery began is dropped for that subscriber.
MQTT-3.3.2-6   server  The expiry interval that a subscriber sees is shorter by the time the message waited.
MQTT-3.3.2-7   both    Aliases mean nothing on the next connection.
MQTT-3.3.2-8   both    Alias 0 does not exist.
MQTT-3.3.2-9   client  A client's alias is not above the maximum in CONNACK.
MQTT-3.3.2-10  client  A client understands every alias up to the maximum in its CONNECT.
MQTT-3.3.2-11  server  The server's alias is not above the maximum in CONNECT.
MQTT-3.3.2-12  server  The server understands every alias up to the maximum in its CONNACK.
MQTT-3.3.2-13  both    The Response Topic obeys the rules for strings.
MQTT-3.3.2-14  both    The Response Topic is free of wildcard characters.
MQTT-3.3.2-15  server  The Response Topic passes unchanged to every subscriber.
MQTT-3.3.2-16  server  Correlation Data pass unchanged to every subscriber.
MQTT-3.3.2-17  server  User properties pass unchanged to every subscriber.
MQTT-3.3.2-18  server  User properties arrive in the order in which they were given.
MQTT-3.3.2-19  both    The Content Type obeys the rules for strings.
MQTT-3.3.2-20  server  The Content Type passes unchanged to every subscriber.
MQTT-3.3.4-1   both    QoS 1 is answered by PUBACK, QoS 2 by PUBREC, QoS 0 by nothing.
MQTT-3.3.4-2   server  Where subscriptions of a client overlap, the highest of their QoS decides.
MQTT-3.3.4-3   server  The identifiers of matching overlapping subscriptions come with the message.
MQTT-3.3.4-4   server  One copy for several subscriptions lists the identifiers of them all.
MQTT-3.3.4-5   server  A copy for each subscription names the identifier of its own.
MQTT-3.3.4-6   client  A client publishes without Subscription Identifier.
MQTT-3.3.4-7   client  A client has no more than the server's Receive Maximum of QoS 1 and 2 messages open.
MQTT-3.3.4-8   client  A client whose quota is spent goes on sending everything else.
MQTT-3.3.4-9   server  The server has no more than the client's Receive Maximum of QoS 1 and 2 messages open.
MQTT-3.3.4-10  server  A server whose quota is spent goes on sending everything else.
MQTT-3.4.2-1   both    PUBACK bears one of the reason codes listed for it.
MQTT-3.4.2-2   both    A PUBACK too large for its receiver goes out without its reason string.
MQTT-3.4.2-3   both    A PUBACK too large for its receiver goes out without its user properties.
MQTT-3.5.2-1   both    PUBREC bears one of the reason codes listed for it.
MQTT-3.5.2-2   both    A PUBREC too large for its receiver goes out without its reason string.
MQTT-3.5.2-3   both    A PUBREC too large for its receiver goes out without its user properties.
MQTT-3.6.1-1   both    PUBREL with flags other than 0010 is malformed and ends the connection.
MQTT-3.6.2-1   both    PUBREL bears one of the reason codes listed for it.
MQTT-3.6.2-2   both    A PUBREL too large for its receiver goes out without its reason string.
MQTT-3.6.2-3   both    A PUBREL too large for its receiver goes out without its user properties.
MQTT-3.7.2-1   both    PUBCOMP bears one of the reason codes listed for it.
MQTT-3.7.2-2   both    A PUBCOMP too large for its receiver goes out without its reason string.
MQTT-3.7.2-3   both    A PUBCOMP too large for its receiver goes out without its user properties.
MQTT-3.8.1-1   server  SUBSCRIBE with flags other than 0010 is malformed and ends the connection.
MQTT-3.8.3-1   client  Filters of SUBSCRIBE obey the rules for strings.
MQTT-3.8.3-2   client  There is no SUBSCRIBE without a filter and its options.
MQTT-3.8.3-3   server  No Local keeps a client's own messages from coming back to it.
MQTT-3.8.3-4   client  No Local together with a shared subscription is a protocol error.
MQTT-3.8.3-5   server  Subscription options with a reserved bit set are malformed.
MQTT-3.8.4-1   server  SUBACK is the answer to SUBSCRIBE.
MQTT-3.8.4-2   server  SUBACK and its SUBSCRIBE share one packet identifier.
MQTT-3.8.4-3   server  To subscribe to a filter again replaces the earlier subscription and its options.
MQTT-3.8.4-4   server  The replacement brings retained messages if Retain Handling is 0, and loses no message.
MQTT-3.8.4-5   server  Several filters in one SUBSCRIBE have the effect of several SUBSCRIBEs, with one SUBACK.
MQTT-3.8.4-6   server  SUBACK has as many reason codes as there were filters.
MQTT-3.8.4-7   server  Each code is the QoS that was granted, or says that the filter was refused.
MQTT-3.8.4-8   server  A message arrives at the lower of the QoS it was published with and the QoS granted.
MQTT-3.9.2-1   server  A SUBACK too large for the client goes out without its reason string.
MQTT-3.9.2-2   server  A SUBACK too large for the client goes out without its user properties.
MQTT-3.9.3-1   server  Codes of SUBACK stand in the order of the filters.
MQTT-3.9.3-2   server  Codes of SUBACK are taken from its list, one to a filter.
MQTT-3.10.1-1  server  UNSUBSCRIBE with flags other than 0010 is malformed and ends the connection.
MQTT-3.10.3-1  client  Filters of UNSUBSCRIBE obey the rules for strings.
MQTT-3.10.3-2  client  There is no UNSUBSCRIBE without a filter.
MQTT-3.10.4-1  server  UNSUBSCRIBE ends the subscription whose filter is the same in every character, and no other.
MQTT-3.10.4-2  server  From then on no message is taken up for the client on account of that filter.
MQTT-3.10.4-3  server  QoS 1 and 2 messages that are under way still run to their end.
MQTT-3.10.4-4  server  UNSUBACK is the answer to UNSUBSCRIBE.
MQTT-3.10.4-5  server  UNSUBACK bears the request's packet identifier and comes even if nothing matched.
MQTT-3.10.4-6  server  Several filters in one UNSUBSCRIBE have the effect of several, with one UNSUBACK.
MQTT-3.11.2-1  server  An UNSUBACK too large for the client goes out without its reason string.
MQTT-3.11.2-2  server  An UNSUBACK too large for the client goes out without its user properties.
MQTT-3.11.3-1  server  Codes of UNSUBACK stand in the order of the filters.
MQTT-3.11.3-2  server  Codes of UNSUBACK are taken from its list, one to a filter.
MQTT-3.12.4-1  server  A ping is answered.
MQTT-3.14.0-1  server  Before a successful CONNACK there is no DISCONNECT from the server.
MQTT-3.14.1-1  both    The flags of DISCONNECT are checked; other than 0 they are answered by 0x81.
MQTT-3.14.2-1  both    DISCONNECT bears one of the reason codes listed for it.
MQTT-3.14.2-2  server  The server's DISCONNECT has no Session Expiry Interval.
MQTT-3.14.2-3  both    A DISCONNECT too large for its receiver goes out without its reason string.
MQTT-3.14.2-4  both    A DISCONNECT too large for its receiver goes out without its user properties.
MQTT-3.14.4-1  both    DISCONNECT is the last packet of its sender.
MQTT-3.14.4-2  both    Its sender closes the connection.
MQTT-3.14.4-3  server  A client's DISCONNECT 0x00 throws its Will away.
MQTT-3.15.1-1  both    AUTH with flags other than 0 is malformed and ends the connection.
MQTT-3.15.2-1  both    AUTH bears one of the reason codes listed for it.
MQTT-3.15.2-2  both    An AUTH too large for its receiver goes out without its reason string.
MQTT-3.15.2-3  both    An AUTH too large for its receiver goes out without its user properties.
MQTT-4.1.0-1   both    A session lives at least as long as its connection.
MQTT-4.1.0-2   server  A session goes when its connection is closed and its expiry interval is over.
MQTT-4.2-1     both    MQTT runs over a transport that loses nothing and keeps the order of bytes.
MQTT-4.3.1-1   both    QoS 0 goes out with QoS 0 and DUP 0.
MQTT-4.3.2-1   both    Each new QoS 1 message gets a free packet identifier.
MQTT-4.3.2-2   both    It goes out with that identifier, QoS 1 and DUP 0.
MQTT-4.3.2-3   both    It counts as unacknowledged up to its PUBACK.
MQTT-4.3.2-4   both    The receiver's PUBACK, with the same identifier, means that it has taken the message over.
MQTT-4.3.2-5   both    After PUBACK a PUBLISH with that identifier is a new message, even with DUP.
MQTT-4.3.3-1   both    Each new QoS 2 message gets a free packet identifier.
MQTT-4.3.3-2   both    It goes out with that identifier, QoS 2 and DUP 0.
MQTT-4.3.3-3   both    Its PUBLISH counts as unacknowledged up to its PUBREC.
MQTT-4.3.3-4   both    A PUBREC below 0x80 is followed by PUBREL with the same identifier.
MQTT-4.3.3-5   both    PUBREL counts as unacknowledged up to its PUBCOMP.
MQTT-4.3.3-6   both    A message whose PUBREL is out is not published again.
MQTT-4.3.3-7   both    A QoS 2 message that has been sent no longer expires.
MQTT-4.3.3-8   both    The receiver's PUBREC, with the same identifier, means that it has taken the message over.
MQTT-4.3.3-9   both    After a PUBREC of 0x80 or more a PUBLISH with that identifier is a new message.
MQTT-4.3.3-10  both    Up to PUBREL a repetition gets another PUBREC and is not passed on.
MQTT-4.3.3-11  both    PUBREL is answered by PUBCOMP with its identifier.
MQTT-4.3.3-12  both    After PUBCOMP a PUBLISH with that identifier is a new message.
MQTT-4.3.3-13  both    Expiry does not interrupt acknowledgements that have begun.
MQTT-4.4.0-1   both    A resumed session sends open PUBLISH and PUBREL again under their old numbers; nothing else does.
MQTT-4.4.0-2   both    PUBACK or PUBREC of 0x80 or more closes the matter; the message is not sent again.
MQTT-4.5.0-1   server  A message taken over is put into the session of every client with a matching subscription.
MQTT-4.5.0-2   client  A client acknowledges each PUBLISH as its QoS wants, whatever it does with it.
MQTT-4.6.0-1   client  A client sends PUBLISH packets again in their first order.
MQTT-4.6.0-2   client  A client sends PUBACKs in the order of the QoS 1 messages.
MQTT-4.6.0-3   client  A client sends PUBRECs in the order of the QoS 2 messages.
MQTT-4.6.0-4   client  A client sends PUBRELs in the order of the PUBRECs.
MQTT-4.6.0-5   server  On an ordered topic messages of one publisher and one QoS keep their order.
MQTT-4.6.0-6   server  Every topic is ordered unless someone decided otherwise; shared subscriptions are exempt.
MQTT-4.7.0-1   both    Wildcard characters have their place in filters, not in topic names.
MQTT-4.7.1-1   both    # is the whole last level of a filter.
MQTT-4.7.1-2   both    + is the whole of a level wherever it is used.
MQTT-4.7.2-1   server  A wildcard in the first level does not reach topics that begin with $.
MQTT-4.7.3-1   both    Topic names and filters are not empty.
MQTT-4.7.3-2   both    The null character does not occur in topic names and filters.
MQTT-4.7.3-3   both    Topic names and filters fit into 65535 bytes.
MQTT-4.7.3-4   server  Matching compares characters as they are, without normalisation.
MQTT-4.8.2-1   client  A shared subscription's filter is $share/, a name of one character or more, and what follows.
MQTT-4.8.2-2   client  Share names have none of / + # in them; after the name come / and a topic filter.
MQTT-4.8.2-3   server  The QoS granted to the member that was chosen limits the QoS of its copy.
MQTT-4.8.2-4   server  A QoS 2 message begun with a member waits for that member to return and finish it.
MQTT-4.8.2-5   server  If that member's session ends instead, no other member gets the message.
MQTT-4.8.2-6   server  A message that a member refuses by its reason code is dropped, not offered to another.
MQTT-4.9.0-1   both    Sending starts with a quota above 0 and not above the other side's Receive Maximum.
MQTT-4.9.0-2   both    Each QoS 1 or 2 PUBLISH costs one; at 0 no further one goes out.
MQTT-4.9.0-3   both    At 0 all other packets are still taken and answered.
MQTT-4.12.0-1  server  A method that the server lacks ends the connection; 0x8C or 0x87 before that is optional.
MQTT-4.12.0-2  server  A server that wants more data asks by AUTH with 0x18.
MQTT-4.12.0-3  client  A client gives more data by AUTH with 0x18.
MQTT-4.12.0-4  server  A server that is not convinced closes; CONNACK of 0x80 or more before that is optional.
MQTT-4.12.0-5  both    AUTH and the successful CONNACK name the method that CONNECT named.
MQTT-4.12.0-6  server  Without a method in CONNECT there is no AUTH from the server and no method in CONNACK.
MQTT-4.12.0-7  client  Without a method in CONNECT there is no AUTH from the client.
MQTT-4.12.1-1  client  To authenticate again a client uses the method that it connected with.
MQTT-4.12.1-2  both    If that fails the connection is closed, best after a DISCONNECT that says why.
MQTT-4.13.1-1  server  A malformed packet or protocol error that has a reason code closes the connection.
MQTT-4.13.2-1  both    CONNACK and DISCONNECT of 0x80 or more, sent or only meant, close the connection.
MQTT-6.0.0-1   both    Over WebSocket MQTT is in binary frames; any other data frame ends the connection.
MQTT-6.0.0-2   both    Packets and WebSocket frames need not begin or end together.
MQTT-6.0.0-3   client  A client asks for the WebSocket subprotocol mqtt.
MQTT-6.0.0-4   server  The server agrees to the WebSocket subprotocol mqtt.
`

// Why a statement has no test here. A statement may have both a reason and tests: the server's reaction to a client
// that breaks a rule of its own is tested where there is one.
const reasonRows = `
MQTT-2.2.1-3   Binds the client. The server answers packet identifier 0 with 0x82 and one that is still open with 0x91.
MQTT-3.1.2-16  Binds the client. Bytes left over behind the last promised field are answered with 0x81.
MQTT-3.1.2-18  Binds the client. Bytes left over behind the last promised field are answered with 0x81.
MQTT-3.1.2-20  Binds the client. The server ends the connection of a silent client as 3.1.2-22 says.
MQTT-3.1.2-21  Binds the client. The server measures silence by the Server Keep Alive it has announced.
MQTT-3.1.2-28  The server offers no Response Information at all.
MQTT-3.1.2-30  Binds the client. Other packets during authentication are a protocol error.
MQTT-3.1.3-1   Binds the client. Fields in another order are read as what they stand for and fail by their content.
MQTT-3.1.3-3   Binds the client. A payload without client identifier is malformed: 0x81.
MQTT-3.2.2-4   Binds the client.
MQTT-3.2.2-5   Binds the client.
MQTT-3.2.2-18  Binds the client. Any alias is then above the maximum: 0x94, as 3.2.2-17 says.
MQTT-3.2.2-21  Binds the client. The server measures silence by the Server Keep Alive it has announced.
MQTT-3.3.2-10  Binds the client.
MQTT-3.3.4-5   The server sends one copy for all overlapping subscriptions of a client, as 3.3.4-4 says.
MQTT-3.3.4-8   Binds the client.
MQTT-3.6.2-2   The server's PUBREL has no properties.
MQTT-3.6.2-3   The server's PUBREL has no properties.
MQTT-4.2-1     TCP and UNIX stream sockets have this property; every test here runs over one of them.
MQTT-4.5.0-2   Binds the client. A message that is not acknowledged occupies one place of the window, as 4.9.0-2 says.
MQTT-4.6.0-1   Binds the client.
MQTT-4.6.0-2   Binds the client. The server accepts acknowledgements in any order.
MQTT-4.6.0-3   Binds the client. The server accepts acknowledgements in any order.
MQTT-4.6.0-4   Binds the client. The server accepts acknowledgements in any order.
MQTT-6.0.0-1   WebSocket listeners are not in this version.
MQTT-6.0.0-2   WebSocket listeners are not in this version.
MQTT-6.0.0-3   Binds the client. WebSocket listeners are not in this version.
MQTT-6.0.0-4   WebSocket listeners are not in this version.
`

/** All statements, in the order of the specification. */
export const statements: readonly Statement[] = rowsOf(statementRows).map((row) => {
  const [id, applies, ...words] = row.split(/ +/)
  return { id, applies: applies as Statement['applies'], wording: words.join(' ') }
})

/** Statement id → why it needs no test. */
export const reasons: ReadonlyMap<string, string> = new Map(
  rowsOf(reasonRows).map((row) => {
    const [id, ...words] = row.split(/ +/)
    return [id, words.join(' ')]
  }),
)

function rowsOf(table: string): string[] {
  return table.split('\n').filter((row) => row !== '')
}
